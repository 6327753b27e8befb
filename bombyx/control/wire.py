"""What goes over a worker's control socket: one line of JSON each way, and where the socket is.

Whoever may open the socket is the owner: its mode is 0600, in a folder of mode 0700. What it takes
stops and starts serving; nothing that a worker attests, signs or decrypts can be asked for here.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bombyx.errors import SetupError

SOCKET = "worker.sock"
MAX_LINE_BYTES = 64 * 1024
_DESCRIPTORS = Path("/proc/self/fd")
_LONGEST_PATH = 100
"""Unix socket addresses have 108 bytes; folders of tests and containers may be deeper."""


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """`do` is status, pause, resume, load or unload; `model` of the last two."""

    do: str
    model: str = ""


class Reply(msgspec.Struct, omit_defaults=True):
    """`told` where it was done; else one sentence."""

    told: dict[str, Any] | None = None
    error: str = ""


@contextlib.contextmanager
def address(folder: Path) -> Iterator[str]:
    """A path of the socket that is short enough, as long as the block lasts."""
    path = folder / SOCKET
    if len(os.fsencode(path)) <= _LONGEST_PATH or not _DESCRIPTORS.is_dir():
        yield str(path)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{_DESCRIPTORS}/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def decode_order(line: bytes) -> Order:
    """Raises `SetupError`."""
    try:
        return msgspec.json.decode(line, type=Order)
    except msgspec.DecodeError as error:
        raise SetupError(f"that is no order: {error}") from None
