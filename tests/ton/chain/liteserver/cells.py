"""Exotic cells, bags of several roots, dictionaries: what pytoniq-core reads and never writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bitarray import bitarray
from pytoniq_core import Cell
from pytoniq_core.boc.exotic import CellTypes
from pytoniq_core.boc.tvm_bitarray import TvmBitarray

from ton.codec.cells import Writer


def exotic(kind: int, data: bytes, *refs: Cell) -> Cell:
    bits = bitarray()
    bits.frombytes(bytes([kind]) + data)
    return Cell(TvmBitarray(1023, bits), list(refs), kind)


def depth(cell: Cell) -> bytes:
    return int(cell.get_depth(0)).to_bytes(2, "big")


def pruned(cell: Cell) -> Cell:
    """A branch in whose place only its hash and depth stand."""
    return exotic(CellTypes.pruned_branch, b"\x01" + cell.get_hash(0) + depth(cell))


def update(old: Cell, new: Cell) -> Cell:
    """A Merkle update that shows nothing of either state."""
    data = old.get_hash(0) + new.get_hash(0) + depth(old) + depth(new)
    return exotic(CellTypes.merkle_update, data, pruned(old), pruned(new))


def proof(root: Cell, shown: Iterable[Cell]) -> Cell:
    """A Merkle proof of a cell of which only `shown` cells are there."""
    kept = {cell.hash for cell in shown}

    def cut(cell: Cell) -> Cell:
        if cell.is_exotic:
            return cell
        if cell.hash not in kept:
            return pruned(cell)
        return Cell(cell.bits, [cut(ref) for ref in cell.refs])

    inside = cut(root)
    return exotic(CellTypes.merkle_proof, inside.get_hash(0) + depth(root), inside)


def bag(*roots: Cell) -> bytes:
    """A bag of cells with several roots."""
    done: dict[bytes, Cell] = {}

    def visit(cell: Cell) -> None:
        if cell.hash not in done:
            for ref in cell.refs:
                visit(ref)
            done[cell.hash] = cell

    for root in roots:
        visit(root)
    order = list(reversed(done.values()))
    places = {cell: place for place, cell in enumerate(order)}
    body = b"".join(cell.serialize(places, 2) for cell in order)
    head = bytes.fromhex("b5ee9c72") + bytes([2, 4])
    counts = len(order).to_bytes(2, "big") + len(roots).to_bytes(2, "big") + bytes(2)
    starts = b"".join(places[root].to_bytes(2, "big") for root in roots)
    return head + counts + len(body).to_bytes(4, "big") + starts + body


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value, and what it adds to the sums on the way to it (None: a dictionary without sums)."""

    value: Cell
    balance: int | None = None


@dataclass(slots=True)
class Tree:
    """A `Hashmap` (or `HashmapAug` with balances) and which nodes a key leads through."""

    root: Cell
    nodes: list[tuple[str, Cell]] = field(default_factory=list)

    def way(self, key: str) -> list[Cell]:
        return [cell for prefix, cell in self.nodes if key.startswith(prefix)]


def currency(writer: Writer, nano: int) -> Writer:
    return writer.coins(nano).uint(0, 1)


def sums(writer: Writer, nano: int | None) -> Writer:
    """DepthBalanceInfo."""
    return writer if nano is None else currency(writer.uint(0, 5), nano)


def tree(leaves: Mapping[str, Leaf]) -> Tree:
    """Keys are texts of 0 and 1, all equally long; at least one."""
    grown = Tree(Writer().cell())
    grown.root = _grow(grown, "", leaves)
    return grown


def _grow(grown: Tree, prefix: str, leaves: Mapping[str, Leaf]) -> Cell:
    keys = sorted(leaves)
    # The first and the last in order: what they share, all share.
    size = next((n for n, (a, b) in enumerate(zip(keys[0], keys[-1], strict=True)) if a != b), None)
    label = keys[0][:size]
    writer = _labelled(label, len(keys[0]))
    below = prefix + label
    if len(label) == len(keys[0]):
        leaf = leaves[keys[0]]
        value = leaf.value.begin_parse()
        builder = sums(writer, leaf.balance).cell().to_builder()
        cell: Cell = builder.store_slice(value).end_cell()
    else:
        for bit in "01":
            cut = len(label) + 1
            side = {k[cut:]: v for k, v in leaves.items() if k.startswith(label + bit)}
            writer.ref(_grow(grown, below + bit, side))
        balances = [leaf.balance for leaf in leaves.values() if leaf.balance is not None]
        cell = sums(writer, sum(balances) if balances else None).cell()
    grown.nodes.append((prefix, cell))
    return cell


def _labelled(label: str, most: int) -> Writer:
    """The shortest of the three forms, as the chain has it."""
    size, width = len(label), most.bit_length()
    long, same = 2 + width + size, 3 + width if len(set(label)) == 1 else 10_000
    writer = Writer()
    if 2 * size + 2 <= min(long, same):
        writer.uint(0, 1).uint((1 << size + 1) - 2, size + 1)
    elif same <= long:
        return writer.uint(0b11, 2).uint(int(label[0]), 1).uint(size, width)
    else:
        writer.uint(0b10, 2).uint(size, width)
    return writer.uint(int(label, 2), size) if size else writer
