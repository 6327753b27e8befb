"""SPEC 1.5: batches have the tree shape of RFC 6962 2.1."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.errors import BadReceipt
from bombyx.money.batch import MAX_LEAVES, leaf_hash, root, root_and_paths, root_from_path
from tests.factories import seed

LEAVES = [leaf_hash(seed(f"leaf {number}")) for number in range(MAX_LEAVES)]


def naive_split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    k = naive_split(len(leaves))
    joined = b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])
    return hashlib.sha256(joined).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


@pytest.mark.spec("1.5-a")
def test_a_leaf_is_marked_as_such() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()


@pytest.mark.spec("1.5-a")
@pytest.mark.parametrize("count", range(1, MAX_LEAVES + 1))
def test_roots_and_paths_are_those_of_rfc_6962(count: int) -> None:
    leaves = LEAVES[:count]
    top, paths = root_and_paths(leaves)
    assert top == root(leaves) == naive_root(leaves)
    for index, path in enumerate(paths):
        assert path == naive_path(index, leaves)
        assert len(path) <= 6
        assert root_from_path(leaves[index], index, count, path) == top


def lands_elsewhere(top: bytes, leaf: bytes, index: int, count: int, path: list[bytes]) -> bool:
    try:
        return root_from_path(leaf, index, count, path) != top
    except BadReceipt:
        return True


@given(st.integers(1, MAX_LEAVES), st.data())
def test_a_forged_path_never_leads_to_the_root(count: int, data: st.DataObject) -> None:
    top, paths = root_and_paths(LEAVES[:count])
    index = data.draw(st.integers(0, count - 1))
    leaf, path = LEAVES[index], paths[index]
    other = data.draw(st.integers(-1, count).filter(lambda number: number != index))
    assert lands_elsewhere(top, leaf, other, count, path)
    assert lands_elsewhere(top, seed("forged"), index, count, path)
    assert lands_elsewhere(top, leaf, index, count, [*path, seed("more")])
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert lands_elsewhere(top, leaf, index, count, path[:-1])
        assert lands_elsewhere(top, leaf, index, count, path[1:])
        forged = [*path[:at], seed("forged"), *path[at + 1 :]]
        assert lands_elsewhere(top, leaf, index, count, forged)


def test_an_inner_node_is_no_leaf() -> None:
    top, paths = root_and_paths(LEAVES[:4])
    inner = root(LEAVES[:2])
    assert root_from_path(inner, 0, 2, paths[0][1:]) == top
    statement_like = b"\x01" + LEAVES[0] + LEAVES[1]
    assert leaf_hash(statement_like) != inner


@pytest.mark.parametrize(("index", "count"), [(-1, 1), (1, 1), (0, 0), (64, 64)])
def test_an_index_outside_of_the_batch_is_refused(index: int, count: int) -> None:
    with pytest.raises(BadReceipt, match="outside"):
        root_from_path(LEAVES[0], index, count, [])


@pytest.mark.spec("1.5-c")
def test_a_path_of_wrong_length_is_refused_as_such() -> None:
    with pytest.raises(BadReceipt, match="too long"):
        root_from_path(LEAVES[0], 0, 1, [LEAVES[1]])
    with pytest.raises(BadReceipt, match="too short"):
        root_from_path(LEAVES[0], 0, 2, [])


def test_a_batch_has_a_leaf() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        root([])
