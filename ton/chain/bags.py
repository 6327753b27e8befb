"""Bags of cells from a node that may mean harm: bounded, and read in linear time."""

from typing import Any, Final

from pytoniq_core import Cell
from pytoniq_core.boc.deserialize import SERIALIZED_BOC_PREFIX, Boc

from ton.errors import MalformedCell

MAX_CELLS: Final = 1 << 15
"""About a second of parsing, more on a busy machine; a proof has some hundreds, sixteen large
transactions 25,000."""
_HEAD: Final = 6
_SIZE_BITS: Final = 0b111


class _Bag(Boc):
    """pytoniq-core cuts what is left of the bytes for each cell; of a view that costs nothing."""

    @staticmethod
    def deserialize_boc_header(data: bytes) -> dict[str, Any]:
        header: dict[str, Any] = Boc.deserialize_boc_header(data)
        header["cells_data"] = memoryview(header["cells_data"])
        return header


def parse_bag(data: bytes, roots: int) -> list[Cell]:
    """So many roots; raises `MalformedCell`."""
    size = data[4] & _SIZE_BITS if len(data) > _HEAD else 0
    if data[:4] != SERIALIZED_BOC_PREFIX or not size:
        raise MalformedCell("this is no bag of cells")
    if int.from_bytes(data[_HEAD : _HEAD + size], "big") > MAX_CELLS:
        raise MalformedCell("the bag has too many cells")
    try:
        cells: list[Cell] = _Bag(data).deserialize(Cell)
    except Exception as cause:  # pytoniq-core raises whatever it stumbles over
        raise MalformedCell("this is no bag of cells") from cause
    if len(cells) != roots:
        raise MalformedCell(f"the bag has {len(cells)} roots, not {roots}")
    return cells
