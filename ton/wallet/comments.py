"""Text that travels with a transfer, as every wallet writes it: 32 zero bits, then UTF-8.

What does not fit a cell goes on in its reference ("snake").
"""

from typing import Final

from pytoniq_core import Cell

from ton.codec.cells import Reader
from ton.errors import MalformedCell

TEXT: Final = 0
"""The op code of a body that is text."""
MAX_TEXT: Final = 1000
"""Bytes that are read: a memo is short, and nobody's memory is for sale."""


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
