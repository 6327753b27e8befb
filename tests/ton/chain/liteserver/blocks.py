"""A devnet's accounts as the states of a masterchain and two shards, with a block after each.

Everything that a proof of an account goes through is there and hashed as on TON. What no proof here
goes through is a stand-in: messages in flight, flows of value, validators, the blocks before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from pytoniq_core import Address, Cell

from tests.ton.chain.liteserver.cells import Leaf, Tree, bag, currency, proof, sums, tree, update
from ton.chain.liteserver.questions import MASTERCHAIN, BlockId
from ton.codec.cells import Reader, Writer, parse_boc
from ton.devnet.chain import Devnet
from ton.tvm.accounts import Account

NOTHING = Writer().cell()
STAND_IN = Writer().uint(7, 8).ref(NOTHING).cell()
Accounts = dict[str, bytes]
"""ShardAccounts (bags of cells) by the bits of their addresses."""


def bits_of(address: Address) -> str:
    return f"{int.from_bytes(address.hash_part, 'big'):0256b}"


def accounts_of(devnet: Devnet, workchain: int) -> Accounts:
    places = (Address(place) for place in devnet.log.accounts())
    return {
        bits_of(place): devnet.log.state(f"{place.wc}:{place.hash_part.hex()}") or b""
        for place in places
        if place.wc == workchain
    }


@dataclass(frozen=True, slots=True)
class Frame:
    """Of which chain, and when."""

    network: int
    workchain: int
    prefix: str
    seqno: int
    at: int

    def identified(self, writer: Writer) -> Writer:
        """ShardIdent."""
        writer.uint(0, 2).uint(len(self.prefix), 6).signed(self.workchain, 32)
        return writer.uint(int(self.prefix.ljust(64, "0"), 2), 64)

    @property
    def shard(self) -> int:
        tagged = int((self.prefix + "1").ljust(64, "0"), 2)
        return tagged - (1 << 64) if tagged >> 63 else tagged


class Block:
    """A block of one chain and the state after it."""

    def __init__(self, frame: Frame, accounts: Accounts, custom: Cell | None = None) -> None:
        self.accounts = accounts
        self._tree = _account_tree(accounts)
        self._held = _account_cell(self._tree, accounts)
        self.state = _state(frame, self._held, custom)
        self._info = _info(frame)
        writer = Writer().uint(0x11EF55AA, 32).signed(frame.network, 32).ref(self._info)
        change = update(STAND_IN, self.state)
        self.root = writer.ref(STAND_IN).ref(change).ref(STAND_IN).cell()
        self.id = BlockId(
            frame.workchain, frame.shard, frame.seqno,
            self.root.get_hash(0), sha256(self.root.hash).digest(),
        )  # fmt: skip

    def header(self) -> Cell:
        return proof(self.root, [self.root, self._info, *self._info.refs])

    def proof_of(self, address: Address) -> bytes:
        """That an account is in the state, or that it is not."""
        way = self._tree.way(bits_of(address)) if self._tree else []
        return bag(self.header(), proof(self.state, [self.state, self._held, *way]))


class Picture:
    """The chain at one moment: a masterchain block and the two shards that it names."""

    def __init__(self, devnet: Devnet, seqno: int) -> None:
        at, network = devnet.now(), devnet.network
        held = accounts_of(devnet, 0)
        self.shards = [
            Block(
                Frame(network, 0, bit, seqno, at),
                {key: state for key, state in held.items() if key.startswith(bit)},
            )
            for bit in "01"
        ]
        descriptions = [Writer().uint(0, 1), Writer().uint(0, 1)]
        for shard, writer in zip(self.shards, descriptions, strict=True):
            _described(writer, shard.id, at)
        left, right = (writer.cell() for writer in descriptions)
        fork = Writer().uint(1, 1).ref(left).ref(right).cell()
        self._shards = tree({f"{0:032b}": Leaf(Writer().ref(fork).cell())})
        details = _details()
        self.custom = _extra(self._shards.root, parse_boc(devnet.tvm.config), details)
        self._shown = [self.custom, self._shards.root, fork, left, right, details]
        frame = Frame(network, MASTERCHAIN, "", seqno, at)
        self.master = Block(frame, accounts_of(devnet, MASTERCHAIN), self.custom)

    def block_of(self, address: Address) -> Block:
        """The block of the shard that an address belongs to."""
        return self.master if address.wc == MASTERCHAIN else self.shards[int(bits_of(address)[0])]

    def shard_proof(self) -> bytes:
        """That the masterchain names these shards' blocks."""
        shown = proof(self.master.state, [self.master.state, *self._shown])
        return bag(self.master.header(), shown)

    def shard_hashes(self) -> bytes:
        return bag(Writer().uint(1, 1).ref(self._shards.root).cell())

    def state_of(self, address: Address) -> bytes:
        """The account's own cell; nothing where there is none."""
        held = self.block_of(address).accounts.get(bits_of(address))
        return b"" if held is None else bag(Reader(parse_boc(held)).ref())

    def account(self, address: Address) -> Account | None:
        held = self.block_of(address).accounts.get(bits_of(address))
        return None if held is None else Account.read(held)


def _account_tree(accounts: Accounts) -> Tree | None:
    if not accounts:
        return None
    return tree({key: Leaf(parse_boc(s), Account.read(s).balance) for key, s in accounts.items()})


def _account_cell(grown: Tree | None, accounts: Iterable[str]) -> Cell:
    """HashmapAugE."""
    if grown is None:
        return sums(Writer().uint(0, 1), 0).cell()
    return sums(Writer().uint(1, 1).ref(grown.root), 0).cell()


def _state(frame: Frame, held: Cell, custom: Cell | None) -> Cell:
    writer = frame.identified(Writer().uint(0x9023AFE2, 32).signed(frame.network, 32))
    writer.uint(frame.seqno, 32).uint(0, 32).uint(frame.at, 32).uint(frame.seqno, 64).uint(0, 32)
    rest = currency(currency(Writer().uint(0, 128), 0), 0).uint(0, 2).cell()
    writer.ref(STAND_IN).uint(0, 1).ref(held).ref(rest)
    return (writer.uint(1, 1).ref(custom) if custom else writer.uint(0, 1)).cell()


def _info(frame: Frame) -> Cell:
    is_shard = frame.workchain != MASTERCHAIN
    writer = Writer().uint(0x9BC7A987, 32).uint(0, 32).uint(is_shard, 1).uint(0, 7 + 8)
    writer = frame.identified(writer.uint(frame.seqno, 32).uint(0, 32)).uint(frame.at, 32)
    writer.uint(0, 64 + 64 + 4 * 32)
    before = Writer().uint(0, 64).uint(0, 32).octets(bytes(64), 64).cell()
    return (writer.ref(before) if is_shard else writer).ref(before).cell()


def _described(writer: Writer, block: BlockId, at: int) -> None:
    """ShardDescr."""
    writer.uint(0xA, 4).uint(block.seqno, 32).uint(0, 32).uint(0, 64 + 64)
    writer.octets(block.root_hash, 32).octets(block.file_hash, 32).uint(0, 8).uint(0, 32)
    writer.signed(block.shard, 64).uint(0, 32).uint(at, 32).uint(0, 1)
    writer.ref(currency(currency(Writer(), 0), 0).cell())


def _details() -> Cell:
    """What the masterchain says of validators and of the blocks before."""
    return Writer().uint(0, 16 + 65 + 1 + 65 + 1 + 1).cell()


def _extra(shards: Cell, config: Cell, details: Cell) -> Cell:
    """McStateExtra."""
    writer = Writer().uint(0xCC26, 16).uint(1, 1).ref(shards).octets(b"\x55" * 32, 32).ref(config)
    return currency(writer.ref(details), 0).cell()
