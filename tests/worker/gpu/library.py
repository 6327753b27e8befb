"""The fake libnvidia-ml, compiled once, and processes that find it in place of the real one."""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
ROOT = Path(__file__).parents[3]


@functools.cache
def build(*defines: str) -> Path:
    """The folder with the library; skips the test on a machine without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = Path(tempfile.mkdtemp(prefix="fake-nvml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    flags = [f"-D{define}" for define in defines]
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", *flags, "-o", target, SOURCE], check=True)
    return folder


def environment(*defines: str, **knobs: object) -> dict[str, str]:
    """Of a process that finds the library; `cc=0` sets FAKE_NVML_CC."""
    given = {f"FAKE_NVML_{name.upper()}": str(value) for name, value in knobs.items()}
    return {**os.environ, "LD_LIBRARY_PATH": str(build(*defines)), **given}


def tell(what: str, *defines: str, **knobs: object) -> Any:
    """What the real binding says beside this library."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.worker.gpu.contract", what],
        cwd=ROOT,
        env=environment(*defines, **knobs),
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)
