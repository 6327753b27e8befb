"""Bags of cells in base64: how both versions of the API carry cells."""

from base64 import b64decode, b64encode
from typing import Final

from pytoniq_core import Cell

from ton.codec.cells import parse_boc
from ton.devnet.errors import BadArgument
from ton.errors import MalformedCell

_URL_SAFE: Final = str.maketrans("-_", "+/")


def decode_boc(text: str) -> Cell:
    """A bag of cells in base64, in either alphabet; raises `BadArgument`."""
    try:
        data = b64decode(text.translate(_URL_SAFE) + "=" * (-len(text) % 4), validate=True)
        return parse_boc(data)
    except (ValueError, MalformedCell) as cause:
        raise BadArgument("this is no bag of cells in base64") from cause


def encode_boc(cell: Cell) -> str:
    """A cell as everything here shows it."""
    return b64encode(cell.to_boc()).decode()
