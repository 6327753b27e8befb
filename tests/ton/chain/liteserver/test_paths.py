"""Paths through dictionaries and trees: right for every key, and never longer than the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytoniq_core import Cell, HashMap
from pytoniq_core.boc.hashmap.parse import parse_hashmap

from tests.ton.chain.liteserver.cells import Leaf, pruned, tree
from ton.chain.liteserver.paths import find, leaf
from ton.codec.cells import Writer
from ton.errors import MalformedCell

BITS = 16
KEYS = st.integers(0, 2**BITS - 1)


def value(key: int) -> Cell:
    return Writer().uint(key * 3, 32).cell()


def grown(keys: set[int]) -> Cell:
    return tree({f"{key:0{BITS}b}": Leaf(value(key)) for key in keys}).root


@given(st.sets(KEYS, min_size=1, max_size=20), KEYS)
def test_a_key_leads_to_its_value_or_to_nothing(keys: set[int], other: int) -> None:
    root = grown(keys)
    for key in keys:
        found = find(root, key, BITS)
        assert found is not None
        assert found.uint(32) == key * 3
    found = find(root, other, BITS)
    assert (found is not None) is (other in keys)


@given(st.sets(KEYS, min_size=1, max_size=20))
def test_the_dictionaries_of_these_tests_are_those_of_pytoniq_core(keys: set[int]) -> None:
    read = parse_hashmap(grown(keys).begin_parse(), BITS)
    assert {int(key, 2): one.load_uint(32) for key, one in read.items()} == {
        key: key * 3 for key in keys
    }
    theirs = HashMap(BITS, value_serializer=lambda src, dest: dest.store_uint(src, 32))
    for key in keys:
        theirs.set_int_key(key, key * 3)
    assert theirs.serialize() == grown(keys)


def test_what_was_pruned_cannot_be_entered() -> None:
    root = grown({0, 2**BITS - 1})
    cut = Cell(root.bits, [root.refs[0], pruned(root.refs[1])])
    assert find(cut, 0, BITS) is not None
    with pytest.raises(MalformedCell, match="exotic"):
        find(cut, 2**BITS - 1, BITS)


def test_branches_that_are_shared_cost_one_path_and_not_all() -> None:
    cell = Writer().uint(0b00, 2).uint(7, 8).cell()
    for _ in range(256):
        cell = Writer().uint(0b00, 2).ref(cell).ref(cell).cell()
    found = find(cell, 2**255, 256)
    assert found is not None
    assert found.uint(8) == 7


def fork(left: Cell, right: Cell) -> Cell:
    return Writer().uint(1, 1).ref(left).ref(right).cell()


def test_a_tree_leads_by_the_first_bits_of_the_key() -> None:
    a, b, c = (Writer().uint(0, 1).uint(n, 8).cell() for n in range(3))
    root = fork(a, fork(b, c))
    assert [leaf(root, key, BITS).uint(8) for key in (0x0000, 0x8000, 0xFFFF)] == [0, 1, 2]


def test_a_tree_without_end_is_refused() -> None:
    cell = Writer().uint(0, 1).cell()
    for _ in range(BITS + 1):
        cell = fork(cell, cell)
    with pytest.raises(MalformedCell, match="deeper"):
        leaf(cell, 0, BITS)


@pytest.mark.parametrize(
    "label",
    [
        Writer().uint(0, 1).uint(2**18 - 2, 18).uint(0, 17),  # short: 17 bits of 16
        Writer().uint(0b10, 2).uint(17, 5).uint(0, 17),
        Writer().uint(0b110, 3).uint(31, 5),
        Writer().uint(1, 1),
        Writer().uint(0b00, 2),  # a fork without branches
    ],
)
def test_a_label_that_cannot_be_is_refused(label: Writer) -> None:
    with pytest.raises(MalformedCell):
        find(label.cell(), 0, BITS)
