"""A TPM to talk to: the kernel's character device, or the unix socket of a software TPM.

`/dev/tpmrm0` is the one behind the kernel's resource manager: several processes may use it. Calls
block for as long as the TPM works (a key takes up to a second), so callers use a thread.
"""

import os
import socket
import stat
import time
from pathlib import Path
from typing import Protocol, Self

from worker.attest import tpm2_wire as wire
from worker.attest.tpm2_wire import TpmAnswerError

ANSWER_SECONDS = 20.0
"""A hardware TPM needs a second or two for a key."""


ATTEMPTS = 20
PAUSE_SECONDS = 0.05
"""Between two attempts, while a TPM tests itself."""


class Channel(Protocol):
    """Carries one command at a time."""

    def ask(self, command: bytes) -> bytes:
        """The whole response; raises `TpmAnswerError` or `OSError`."""
        ...

    def close(self) -> None:
        """Let the TPM go."""
        ...


class _Device:
    """The kernel takes a command in one write and gives its response in one read."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def ask(self, command: bytes) -> bytes:
        if os.write(self._file, command) != len(command):
            raise TpmAnswerError("the TPM took only a part of a command")
        return os.read(self._file, wire.MAX_RESPONSE_BYTES)

    def close(self) -> None:
        os.close(self._file)


class _Socket:
    """A software TPM's data channel: a stream of commands and responses."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def ask(self, command: bytes) -> bytes:
        self._socket.sendall(command)
        head = self._exactly(wire.HEADER_BYTES)
        return head + self._exactly(wire.response_size(head) - len(head))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise TpmAnswerError("the TPM hung up in the middle of an answer")
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


def open_channel(path: Path) -> Channel:
    """Open a device or socket; raises `OSError`."""
    if stat.S_ISSOCK(path.stat().st_mode):
        return _Socket(path)
    return _Device(path)


class Tpm:
    """One conversation with a TPM; a context manager. Raises `TpmAnswerError` or `OSError`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def _ask(self, command: bytes) -> bytes:
        response = self._channel.ask(command)
        for _ in range(ATTEMPTS):
            if not wire.wants_again(response):
                break
            time.sleep(PAUSE_SECONDS)
            response = self._channel.ask(command)
        return response

    def manufacturer(self) -> str:
        """Who made it; `IBM` is a software TPM."""
        return wire.read_manufacturer(self._ask(wire.ask_manufacturer()))

    def attestation_key(self) -> wire.PrimaryKey:
        """The attestation key, loaded; flush it."""
        return wire.read_created(self._ask(wire.create_attestation_key()))

    def flush(self, handle: int) -> None:
        """Let a loaded key go."""
        self._ask(wire.flush(handle))

    def quote(self, key: int, *, data: bytes, pcrs: tuple[int, ...]) -> wire.RawQuote:
        """A quote by a loaded key."""
        return wire.read_quote(self._ask(wire.quote(key, data=data, pcrs=pcrs)))

    def pcrs(self, numbers: tuple[int, ...]) -> dict[int, bytes]:
        """The registers' values; raises `TpmAnswerError` where one does not exist."""
        values: dict[int, bytes] = {}
        while missing := tuple(number for number in numbers if number not in values):
            read = wire.read_pcr_values(self._ask(wire.read_pcrs(missing)))
            if not read.keys() & set(missing):
                raise TpmAnswerError("the TPM has no SHA-256 bank with the registers asked for")
            values |= read
        return {number: values[number] for number in numbers}
