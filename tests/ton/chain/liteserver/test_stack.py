"""Stacks as the TVM writes them, and as somebody would who means harm."""

import pytest
from pytoniq_core import Cell, begin_cell
from pytoniq_core.tlb.vm_stack import VmStack, VmTuple

from ton.chain.liteserver.stack import MAX_DEPTH, read_stack
from ton.codec.cells import Writer
from ton.errors import MalformedCell

CELL = Writer().uint(0xABCD, 16).ref(Writer().uint(1, 8).cell()).cell()


def packed(*values: object) -> bytes:
    return bytes(VmStack.serialize(list(values)).to_boc())


def test_numbers_cells_slices_and_nothing_are_read() -> None:
    values = [0, -1, 2**63 - 1, -(2**256), 2**256 - 1, CELL, CELL.begin_parse(), None]
    assert read_stack(packed(*values)) == (*values[:6], CELL, None)
    assert read_stack(packed()) == ()
    assert read_stack(packed(VmTuple([]))) == (None,)


def test_a_slice_is_only_its_part_of_the_cell() -> None:
    part = begin_cell().store_uint(4, 8).store_ref(CELL)
    part.store_uint(4, 10).store_uint(12, 10).store_uint(0, 3).store_uint(1, 3)
    stack = begin_cell().store_uint(1, 24).store_ref(Writer().cell()).store_cell(part.end_cell())
    (value,) = read_stack(stack.end_cell().to_boc())
    assert isinstance(value, Cell)
    assert (value.bits.to01(), value.refs) == ("10111100", CELL.refs)


def sliced(first: int, last: int, first_ref: int, last_ref: int) -> bytes:
    part = begin_cell().store_uint(1, 24).store_ref(Writer().cell()).store_uint(4, 8)
    part.store_ref(CELL).store_uint(first, 10).store_uint(last, 10)
    return bytes(part.store_uint(first_ref, 3).store_uint(last_ref, 3).end_cell().to_boc())


@pytest.mark.parametrize("bounds", [(5, 4, 0, 0), (0, 17, 0, 0), (0, 0, 1, 0), (0, 0, 0, 2)])
def test_a_slice_beyond_its_cell_is_refused(bounds: tuple[int, int, int, int]) -> None:
    with pytest.raises(MalformedCell):
        read_stack(sliced(*bounds))


@pytest.mark.parametrize(
    "stack",
    [
        b"",
        b"junk",
        packed(VmTuple([1])),
        packed(begin_cell()),
        Writer().uint(1, 24).cell().to_boc(),
        Writer().uint(1, 24).ref(Writer().cell()).uint(0x02FF, 16).cell().to_boc(),  # NaN
        Writer().uint(1, 24).ref(Writer().cell()).uint(0, 9).cell().to_boc(),
        Writer().uint(1, 24).ref(Writer().uint(1, 1).cell()).uint(0, 8).cell().to_boc(),
        Writer().uint(MAX_DEPTH + 1, 24).cell().to_boc(),
    ],
)
def test_what_nothing_here_asks_for_is_refused(stack: bytes) -> None:
    with pytest.raises(MalformedCell):
        read_stack(stack)
