"""A running swtpm: a whole TPM 2.0 in software, with registers that tests may extend."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from worker.attest.tpm2_device import open_channel

SWTPM = shutil.which("swtpm")
needs_swtpm = pytest.mark.skipif(
    SWTPM is None, reason="there is no swtpm here (Debian: apt-get install swtpm)"
)
START_SECONDS = 10.0
_HEADER_BYTES = 10


@dataclass(frozen=True, slots=True)
class SoftwareTpm:
    """The unix socket that it listens at."""

    path: Path

    def extend(self, register: int, digest: bytes) -> None:
        """What firmware and kernel do: the register becomes SHA-256 of itself and the digest."""
        body = b"\0\0\0\x01" + (0x000B).to_bytes(2, "big") + digest
        session = bytes.fromhex("40000009") + b"\0\0" + b"\0" + b"\0\0"
        body = register.to_bytes(4, "big") + len(session).to_bytes(4, "big") + session + body
        head = (0x8002).to_bytes(2, "big") + (_HEADER_BYTES + len(body)).to_bytes(4, "big")
        answer = self._ask(head + (0x00000182).to_bytes(4, "big") + body)
        assert answer[6:10] == bytes(4), answer.hex()

    def _ask(self, command: bytes) -> bytes:
        channel = open_channel(self.path)
        try:
            return channel.ask(command)
        finally:
            channel.close()


def _listens(path: Path) -> bool:
    """The file is there a moment before anybody answers at it."""
    try:
        open_channel(path).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def software_tpm() -> Iterator[SoftwareTpm]:
    """A fresh one, with keys of its own; its folder is short, as unix sockets want it."""
    assert SWTPM is not None
    with tempfile.TemporaryDirectory(prefix="tpm") as folder:
        path = Path(folder) / "tpm"
        command = [SWTPM, "socket", "--tpm2", "--tpmstate", f"dir={folder}"]
        command += ["--server", f"type=unixio,path={path}"]
        command += ["--ctrl", f"type=unixio,path={path}.ctrl"]
        command += ["--flags", "not-need-init,startup-clear"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(path):
                assert process.poll() is None, "swtpm ended at once"
                assert time.monotonic() < deadline, "swtpm does not start"
                time.sleep(0.01)
            yield SoftwareTpm(path)
        finally:
            process.terminate()
            process.wait(10)
