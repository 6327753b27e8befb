"""Many statements under one signature: Merkle batches (SPEC 1.5, tree shape of RFC 6962 2.1)."""

import hashlib
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from bombyx.canonical import Document
from bombyx.errors import BadReceipt
from bombyx.units import Count, Hex16, Hex32

MAX_LEAVES = 64


class Batch(Document, frozen=True):
    """Statements `first_n` to `first_n + count - 1` of one worker boot towards one gateway."""

    boot: Hex16
    gateway: Hex32
    root: Hex32
    count: Annotated[int, Meta(ge=1, le=MAX_LEAVES)]
    first_n: Count


def leaf_hash(canonical_statement: bytes) -> bytes:
    """Hash of one leaf."""
    return hashlib.sha256(b"\x00" + canonical_statement).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over 1 to 64 leaf hashes; raises `ValueError` for none."""
    return _climb(leaves, None)


def _climb(leaves: Sequence[bytes], paths: list[list[bytes]] | None) -> bytes:
    """The root; where `paths` are given, each leaf's siblings are appended to its path."""
    if not leaves:
        raise ValueError("a batch has at least one leaf")
    if len(leaves) == 1:
        return leaves[0]
    cut = _split(len(leaves))
    left = _climb(leaves[:cut], paths and paths[:cut])
    right = _climb(leaves[cut:], paths and paths[cut:])
    if paths:
        for path in paths[:cut]:
            path.append(right)
        for path in paths[cut:]:
            path.append(left)
    return _node(left, right)


def root_and_paths(leaves: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """The root and, for each leaf, its path from leaf to root."""
    paths: list[list[bytes]] = [[] for _ in leaves]
    return _climb(leaves, paths), paths


def root_from_path(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """Fold a path back to its root (RFC 9162 2.1.3.2); raises `BadReceipt` on a wrong length."""
    if not 0 <= index < count:
        raise BadReceipt("the statement lies outside of its batch")
    position, last, node = index, count - 1, leaf
    for sibling in path:
        if last == 0:
            raise BadReceipt("the Merkle path is too long")
        if position & 1 or position == last:
            node = _node(sibling, node)
            while not position & 1:
                position >>= 1
                last >>= 1
        else:
            node = _node(node, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise BadReceipt("the Merkle path is too short")
    return node
