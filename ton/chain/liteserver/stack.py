"""What a get method left, read from a stack of the TVM: numbers, cells, slices and nothing else.

One value at a time: pytoniq-core also unpacks tuples of tuples, as many as whoever made them likes.
"""

from typing import Final

from pytoniq_core import Cell, begin_cell

from ton.chain.bags import parse_bag
from ton.chain.port import Value
from ton.codec.cells import Reader
from ton.errors import MalformedCell

MAX_DEPTH: Final = 255
"""Values; beyond what any get method leaves."""
_NULL, _TINY, _INT, _CELL, _SLICE, _TUPLE = 0, 1, 2, 3, 4, 7
_LONG: Final = 0
"""The seven bits that follow `_INT` where it is a number of 257 bits (and no NaN)."""


def read_stack(boc: bytes) -> tuple[Value, ...]:
    """The values, the deepest first; raises `MalformedCell`."""
    reader = Reader(parse_bag(boc, 1)[0])
    depth = reader.uint(24)
    if depth > MAX_DEPTH:
        raise MalformedCell("a stack of more values than are read here")
    values = []
    for _ in range(depth):
        rest = reader.ref()
        values.append(_value(reader))
        reader.end()
        reader = Reader(rest)
    reader.end()
    return tuple(reversed(values))


def _value(reader: Reader) -> Value:
    kind = reader.uint(8)
    if kind == _NULL:
        return None
    if kind == _TINY:
        return reader.signed(64)
    if kind == _INT and reader.uint(7) == _LONG:
        return reader.signed(257)
    if kind == _CELL:
        return reader.ref()
    if kind == _SLICE:
        return _slice(reader)
    if kind == _TUPLE and not reader.uint(16):
        return None  # toncenter shows an empty list and nothing alike
    raise MalformedCell("a value on the stack that nothing here asks for")


def _slice(reader: Reader) -> Cell:
    """A part of a cell, as a cell of its own."""
    whole = Reader(reader.ref()).rest()
    first, last = reader.uint(10), reader.uint(10)
    first_ref, last_ref = reader.uint(3), reader.uint(3)
    if not first <= last <= len(whole.bits) or not first_ref <= last_ref <= len(whole.refs):
        raise MalformedCell("a slice that ends before it begins, or beyond its cell")
    part = begin_cell().store_bits(whole.bits[first:last])
    for ref in whole.refs[first_ref:last_ref]:
        part.store_ref(ref)
    cell: Cell = part.end_cell()
    return cell
