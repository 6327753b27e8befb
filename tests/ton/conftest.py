"""The real TVM for tests: installed from the lock file where it is absent, one per process."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import fasteners
import pytest
from pytoniq_core import Cell

from ton.contracts import FOLDER, payment_channel
from ton.tvm.emulator import Emulator, default_config
from ton.tvm.network import network_config

STAMP = FOLDER / "node_modules" / ".installed"
LOCK = FOLDER / "package-lock.json"


def install() -> None:
    """Install what the lock file names, unless that was done since it changed."""
    if not STAMP.exists() or STAMP.stat().st_mtime < LOCK.stat().st_mtime:
        command = ["npm", "ci", "--no-fund", "--no-audit"]
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        STAMP.touch()


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiler and the TVM, complete, for all processes of this run."""
    shared = tmp_path_factory.getbasetemp().parent
    with fasteners.InterProcessLock(shared / "ton.lock"):
        install()
    return FOLDER / "node_modules"


@pytest.fixture(scope="session")
def base_config(node_modules: Path) -> bytes:
    return default_config(node_modules)


@pytest.fixture(scope="session")
def tvm(base_config: bytes) -> Iterator[Emulator]:
    with Emulator(network_config(base_config)) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def code() -> Cell:
    return payment_channel()
