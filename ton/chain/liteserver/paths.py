"""One path through a dictionary or a tree of shards: all that a proof has to show (block.tlb).

Never more steps than the key has bits, whatever the cells are; what was pruned cannot be entered.
"""

from pytoniq_core import Cell

from ton.codec.cells import Reader
from ton.errors import MalformedCell


def find(root: Cell, key: int, bits: int) -> Reader | None:
    """The leaf of a `Hashmap` or `HashmapAug` (its extra first), or None where there is none."""
    while True:
        reader = Reader(root)
        length, label = _label(reader, bits)
        bits -= length
        if label != key >> bits:
            return None
        if not bits:
            return reader
        bits -= 1
        left, right = reader.ref(), reader.ref()
        root = right if key >> bits & 1 else left
        key &= (1 << bits) - 1


def leaf(root: Cell, key: int, bits: int) -> Reader:
    """The leaf of a `BinTree` that this key leads to."""
    reader = Reader(root)
    while reader.uint(1):
        if not bits:
            raise MalformedCell("the tree is deeper than its keys are long")
        bits -= 1
        left, right = reader.ref(), reader.ref()
        reader = Reader(right if key >> bits & 1 else left)
    return reader


def _label(reader: Reader, most: int) -> tuple[int, int]:
    """How many bits, and which."""
    if not reader.uint(1):
        length = 0
        while reader.uint(1):
            length += 1
        return _checked(length, most), _bits(reader, length)
    if not reader.uint(1):
        length = _checked(_bits(reader, most.bit_length()), most)
        return length, _bits(reader, length)
    bit = reader.uint(1)
    length = _checked(_bits(reader, most.bit_length()), most)
    return length, ((1 << length) - 1) * bit


def _bits(reader: Reader, count: int) -> int:
    return reader.uint(count) if count else 0


def _checked(length: int, most: int) -> int:
    if length > most:
        raise MalformedCell("a label is longer than the key")
    return length
