"""Text that travels with a transfer, as every wallet writes and shows it: 32 zero bits, then UTF-8.

What does not fit a cell goes on in its reference ("snake").
"""

from typing import Final

from pytoniq_core import Cell

from ton.codec.cells import Reader, Writer
from ton.errors import MalformedCell

TEXT: Final = 0
"""The op code of a body that is text."""
MAX_TEXT: Final = 1000
"""Bytes that are read or written: a memo is short, and nobody's memory is for sale."""
_CELL_BYTES: Final = 123
"""Whole bytes that fit a cell behind the op code; later cells are filled as far."""


def comment(text: str) -> Cell:
    """The body of a transfer with this text; raises `MalformedCell` for too much of it."""
    data = text.encode()
    if len(data) > MAX_TEXT:
        raise MalformedCell(f"a comment has {MAX_TEXT} bytes at most")
    pieces = [data[at : at + _CELL_BYTES] for at in range(0, len(data), _CELL_BYTES)] or [b""]
    tail: Cell | None = None
    for at, piece in reversed(list(enumerate(pieces))):
        writer = Writer() if at else Writer().uint(TEXT, 32)
        writer.octets(piece, len(piece))
        tail = (writer if tail is None else writer.ref(tail)).cell()
    if tail is None:
        raise MalformedCell("there is no such comment")
    return tail


def read_comment(body: Cell | None) -> str | None:
    """The text of a body; None for what is no text, is too long, or is not UTF-8."""
    if body is None:
        return None
    data = bytearray()
    try:
        reader = Reader(body).tag(TEXT)
        while True:
            rest = reader.rest()
            if len(rest.bits) % 8:
                return None
            data += Reader(rest).octets(len(rest.bits) // 8)
            if len(data) > MAX_TEXT:
                return None
            if not rest.refs:
                return data.decode()
            reader = Reader(rest.refs[0])
    except (MalformedCell, UnicodeDecodeError):
        return None
