"""Bags of cells are bounded before they are unpacked."""

import pytest

from tests.ton.chain.liteserver.cells import bag
from ton.chain import bags
from ton.chain.bags import parse_bag
from ton.codec.cells import Writer
from ton.errors import MalformedCell

CELL = Writer().ref(Writer().uint(1, 1).cell()).cell()
OTHER = Writer().uint(7, 8).cell()


def test_as_many_roots_as_were_asked_for() -> None:
    assert parse_bag(CELL.to_boc(), 1) == [CELL]
    assert parse_bag(bag(CELL, OTHER), 2) == [CELL, OTHER]
    with pytest.raises(MalformedCell, match="2 roots, not 1"):
        parse_bag(bag(CELL, OTHER), 1)


def test_too_many_cells_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bags, "MAX_CELLS", 1)
    with pytest.raises(MalformedCell, match="too many"):
        parse_bag(CELL.to_boc(), 1)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xb5\xee\x9c\x72",
        b"\xb5\xee\x9c\x72" + bytes(4),
        b"\x68\xff\x65\xf3" + CELL.to_boc()[4:],
        CELL.to_boc()[:-1],
        CELL.to_boc() + b"x",
    ],
)
def test_what_is_no_bag_is_refused(junk: bytes) -> None:
    with pytest.raises(MalformedCell):
        parse_bag(junk, 1)
