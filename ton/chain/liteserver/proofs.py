"""What a block proves: its network, and the state of one account (SPEC 7.1).

    masterchain block -> its state -> the shard's block -> its state -> the account

Each arrow is a hash, and what stands behind it a Merkle proof that shows one path and the hashes of
the rest. That the first block is the network's own is not proven: validators' signatures are not
checked here, and several providers must agree, whatever each can prove.
"""

from dataclasses import dataclass
from typing import Final

from pytoniq_core import Address, Cell
from pytoniq_core.boc.exotic import CellTypes

from ton.chain.bags import parse_bag
from ton.chain.liteserver.paths import find, leaf
from ton.chain.liteserver.questions import BlockId, ShownAccount
from ton.chain.port import AccountState, Point
from ton.chain.reading import Nonsense
from ton.codec.cells import Reader
from ton.errors import MalformedCell
from ton.tvm.accounts import Account, Status

_BLOCK: Final = 0x11EF55AA
_STATE: Final = 0x9023AFE2
_MASTERCHAIN_EXTRA: Final = 0xCC26
_SHARD_DESCRIPTIONS: Final = (0xA, 0xB)
_ADDRESS_BITS: Final = 256


@dataclass(frozen=True, slots=True)
class _Header:
    network: int
    state_hash: bytes


@dataclass(frozen=True, slots=True)
class _State:
    """A chain's state after a block; `custom` is the masterchain's alone."""

    network: int
    at: int
    accounts: Cell
    custom: Cell | None


def network_of(proof: bytes, block: BlockId) -> int:
    """The network that a block says it belongs to; raises `ValueError` or `MalformedCell`."""
    (root,) = parse_bag(proof, 1)
    return Reader(_inside(root, block.root_hash)).tag(_BLOCK).signed(32)


def proven_account(
    shown: ShownAccount, address: Address, *, block: BlockId, network: int
) -> AccountState:
    """The account as of a masterchain block; raises `ValueError` or `MalformedCell`."""
    _check_shard(shown, address, block)
    state = _state_after(shown.proof, shown.shard)
    if state.network != network:
        raise Nonsense(f"shows a state of network {state.network}, not {network}")
    account = _account(state, address, shown.state)
    status = account.status
    if status is Status.UNINITIALIZED and not account.last_lt:
        status = Status.ABSENT
    is_active = status is Status.ACTIVE
    if is_active and (account.code is None or account.data is None):
        raise Nonsense("shows an active account without code or data")
    return AccountState(
        address, status, account.balance,
        account.code if is_active else None, account.data if is_active else None,
        Point(account.last_lt, account.last_hash), state.at,
    )  # fmt: skip


def _check_shard(shown: ShownAccount, address: Address, block: BlockId) -> None:
    """Demand that the masterchain block names this block for the address's shard."""
    if address.wc == block.workchain:
        if shown.shard != block:
            raise Nonsense("shows a masterchain account in another block")
        return
    custom = _state_after(shown.shard_proof, block).custom
    if custom is None:
        raise Nonsense("shows a masterchain without shards")
    shards = Reader(custom).tag(_MASTERCHAIN_EXTRA, 16).maybe_ref()
    found = find(shards, address.wc & 0xFFFFFFFF, 32) if shards is not None else None
    if found is None:
        raise Nonsense(f"shows a network without workchain {address.wc}")
    shard = leaf(found.ref(), int.from_bytes(address.hash_part, "big"), _ADDRESS_BITS)
    if shard.uint(4) not in _SHARD_DESCRIPTIONS:
        raise MalformedCell("this is no shard's description")
    seqno = shard.uint(32)
    shard.octets(20)
    if (seqno, shard.octets(32)) != (shown.shard.seqno, shown.shard.root_hash):
        raise Nonsense("shows an account in a block that the masterchain does not name")


def _state_after(proof: bytes, block: BlockId) -> _State:
    """The state after a block, as far as the proof shows it."""
    header, state = parse_bag(proof, 2)
    told = _read_header(_inside(header, block.root_hash))
    read = _read_state(_inside(state, told.state_hash), block)
    if read.network != told.network:
        raise Nonsense("shows a block and a state of different networks")
    return read


def _inside(proof: Cell, hash_: bytes) -> Cell:
    """What a Merkle proof is about, which must have this hash where nothing is pruned."""
    if proof.type_ != CellTypes.merkle_proof or len(proof.refs) != 1:
        raise MalformedCell("this is no Merkle proof")
    root: Cell = proof.refs[0]
    if root.get_hash(0) != hash_:
        raise Nonsense("has a proof of something else")
    return root


def _read_header(block: Cell) -> _Header:
    reader = Reader(block).tag(_BLOCK)
    network = reader.signed(32)
    reader.ref()
    reader.ref()
    update = reader.ref()
    if update.type_ != CellTypes.merkle_update:
        raise MalformedCell("a block does not say how it changes the state")
    # The cell's own data, and not its references' hashes: those the block's hash does not bind
    # below the level at which the update stands.
    return _Header(network, bytes(update.data[33:65]))


def _read_state(state: Cell, block: BlockId) -> _State:
    reader = Reader(state).tag(_STATE)
    network = reader.signed(32)
    reader.uint(2 + 6)
    workchain = reader.signed(32)
    reader.uint(64)
    seqno = reader.uint(32)
    reader.uint(32)
    at = reader.uint(32)
    reader.uint(64 + 32)
    reader.ref()
    reader.uint(1)
    accounts = reader.ref()
    reader.ref()
    custom = reader.maybe_ref()
    if (workchain, seqno) != (block.workchain, block.seqno):
        raise Nonsense("shows another state than that of the block")
    return _State(network, at, accounts, custom)


def _account(state: _State, address: Address, shown: bytes) -> Account:
    """The account of an address; one that is not there is proven not to be."""
    found = _entry(state, address)
    if found is None:
        if shown:
            raise Nonsense("shows an account that the block does not have")
        return Account(0, bytes(32))
    if not shown:
        raise Nonsense("hides an account that the block has")
    proven, last_hash, last_lt = found.ref(), found.octets(32), found.uint(64)
    (cell,) = parse_bag(shown, 1)
    if bytes(cell.hash) != proven.get_hash(0):
        raise Nonsense("shows another account than the block has")
    return Account.of(cell, last_lt, last_hash)


def _entry(state: _State, address: Address) -> Reader | None:
    accounts = Reader(state.accounts)
    if not accounts.uint(1):
        return None
    found = find(accounts.ref(), int.from_bytes(address.hash_part, "big"), _ADDRESS_BITS)
    if found is not None:
        found.uint(5)
        found.coins()
        found.maybe_ref()
    return found
