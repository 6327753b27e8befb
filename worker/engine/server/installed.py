"""Which model servers are installed, and whether there is a GPU for them."""

import contextlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bombyx.errors import SetupError
from worker.gpu.nvml import Nvml

_SECONDS = 60.0
_QUESTION = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"


def installed_version(python: Path, package: str) -> str | None:
    """The version of a package in the environment of `python`; None where it is not there."""
    if python == Path(sys.executable):
        try:
            return version(package)
        except PackageNotFoundError:
            return None
    try:
        done = subprocess.run(  # noqa: S603 (the interpreter that the owner named)
            [str(python), "-P", "-c", _QUESTION, package],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def count_gpus() -> int:
    """GPUs that NVIDIA's driver shows; 0 without a driver."""
    try:
        probe = Nvml()
    except SetupError:
        return 0
    with contextlib.closing(probe):
        return probe.count()
