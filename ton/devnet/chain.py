"""The devnet itself: accounts, time, and messages delivered until nothing is left to deliver.

Every message from outside makes one block with all that it causes, breadth first as on a chain,
where each transaction is the real TVM's. Nothing is kept of a block that fails on the way.
"""

from collections import deque
from dataclasses import dataclass

from pytoniq_core import Address, Cell

from bombyx.errors import SetupError
from ton.codec.cells import MAX_COINS, Reader, parse_boc, read_dict
from ton.devnet.clock import MAX_TIME, Clock
from ton.devnet.errors import BadArgument, NoSuchThing, NotExecuted
from ton.devnet.heads import Head, read_head, seed_of
from ton.devnet.log import Block, Entry, Log, Posted
from ton.errors import EmulatorFailed, MalformedCell, MessageNotAccepted
from ton.tvm.accounts import ABSENT, Account
from ton.tvm.machine import Tvm
from ton.tvm.messages import Internal
from ton.tvm.transactions import Transaction

LT_STEP = 1_000_000
"""Between transactions: more than the messages that one of them can send."""
MAX_TRACE = 2_000
"""Transactions of one cause; a wallet's batch of 255 with every answer to it needs 766."""
FAUCET = Address((0, bytes.fromhex("fa" * 32)))
"""Whom the faucet's money comes from; nothing is there, and nobody can spend from it."""
MAX_FAUCET = 10**9 * 10**9
"""Nano at once: a billion GRAM."""
_CHAINS = ("0:", "-1:")
_GLOBAL_ID = 19
"""The configuration parameter that names the network."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was taken: its hash, its normalised hash, and the block with its effects."""

    hash: bytes
    norm: bytes
    block: Block


class Devnet:
    """A chain of one machine. `network` is the id in its TVM's configuration.

    Raises `SetupError` where the log is another network's.
    """

    def __init__(self, tvm: Tvm, log: Log, clock: Clock) -> None:
        self.tvm = tvm
        self.log = log
        self.clock = clock
        self.network = _network_of(tvm.config)
        self._check_kept("network", str(self.network))

    def _check_kept(self, key: str, value: str) -> None:
        kept = self.log.meta(key)
        if kept is None:
            self.log.put_meta(key, value)
        elif kept != value:
            raise SetupError(f"this folder holds a devnet whose {key} is {kept}, not {value}")

    def now(self) -> int:
        """What contracts see as the time: unix seconds, never before the newest block."""
        return max(self.clock.now(), self.log.head().utime)

    def advance(self, seconds: int) -> int:
        """Put the clock forward; returns the time. Raises `BadArgument`."""
        if not 0 <= seconds <= MAX_TIME - self.now():
            raise BadArgument("the clock goes forward alone, and not beyond the year 2106")
        self.clock.offset = self.clock.ahead(seconds)
        self.log.put_meta("clock_offset", str(self.clock.offset))
        return self.now()

    def account(self, address: str) -> Account:
        """What is at an address (`workchain:hex`) now."""
        return Account.read(self.log.state(address) or ABSENT)

    def send(self, message: Cell) -> Sent:
        """Take an external message; raises `BadArgument` or `NotExecuted`."""
        head = _readable(message)
        if not head.is_from_outside:
            raise BadArgument("only external messages come from outside")
        return self._deliver(head, minted=0)

    def give(self, address: Address, amount: int) -> Sent:
        """Money out of nothing, in nano, as a plain transfer; raises `BadArgument`."""
        if not 1 <= amount <= MAX_FAUCET:
            raise BadArgument(f"the faucet gives 1 to {MAX_FAUCET} nano at once")
        created = self.log.last_lt() + 1
        message = Internal(
            FAUCET, address, amount, bounce=False, created_lt=created, created_at=self.now()
        )
        return self._deliver(read_head(message.cell()), minted=amount)

    def probe(self, message: Cell) -> Entry:
        """The first transaction that an external message would cause; nothing is kept of it."""
        return _Run(self).step(_readable(message), None)

    def back_to(self, seqno: int) -> Block:
        """Undo every block after this one; raises `NoSuchThing`."""
        if seqno and self.log.block(seqno) is None:
            raise NoSuchThing(f"there is no block {seqno}")
        self.log.back_to(seqno)
        return self.log.head()

    def supply(self) -> tuple[int, int, int]:
        """(minted, fees, balances), in nano: the first is the sum of the others."""
        minted, fees = self.log.totals()
        return minted, fees, sum(self.account(place).balance for place in self.log.accounts())

    def _deliver(self, head: Head, *, minted: int) -> Sent:
        run = _Run(self)
        run.all(head)
        block = Block(run.seqno, run.now, minted, run.fees)
        self.log.append(block, run.entries, run.posted())
        return Sent(head.hash, head.norm, block)


class _Run:
    """One block in the making: nothing of it is written before it is whole."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self.seqno = devnet.log.head().seqno + 1
        self.now = devnet.now()
        self.fees = 0
        self.entries: list[Entry] = []
        self._lt = devnet.log.last_lt()
        self._states: dict[str, bytes] = {}
        self._messages: dict[bytes, tuple[Head, bytes | None, bytes | None]] = {}

    def all(self, first: Head) -> None:
        """Deliver a message, and what comes of it."""
        waiting: deque[tuple[Head, bytes | None]] = deque([(first, None)])
        while waiting:
            head, parent = waiting.popleft()
            if head.destination is None:
                self._messages[head.hash] = (head, parent, None)  # a log entry for outside
                continue
            if len(self.entries) >= MAX_TRACE:
                raise NotExecuted(f"the message causes more than {MAX_TRACE} transactions")
            entry = self.step(head, parent)
            self._messages[head.hash] = (head, parent, entry.hash)
            done = Transaction.read(entry.boc)
            self.fees += self._burnt(head, entry, done)
            waiting.extend((read_head(cell), entry.hash) for cell in done.out_messages)

    def step(self, head: Head, parent: bytes | None) -> Entry:
        """One transaction; raises `NotExecuted`."""
        place = str(head.destination)
        before = self._state(place)
        self._lt += LT_STEP
        seed = seed_of(self.seqno, len(self.entries))
        try:
            done = self._devnet.tvm.run(
                head.cell.to_boc(), before, now=self.now, lt=self._lt, seed=seed
            )
        except MessageNotAccepted as cause:
            raise NotExecuted(_not_accepted(cause)) from cause
        except EmulatorFailed as cause:
            raise NotExecuted(f"LITE_SERVER_UNKNOWN: {cause.message}") from cause
        hash_ = bytes(parse_boc(done.transaction).hash)
        entry = Entry(
            place, self._lt, hash_, self.seqno, self.now,
            self.entries[0].trace if self.entries else hash_, parent, head.hash, head.norm,
            done.transaction, before, done.shard_account,
        )  # fmt: skip
        self.entries.append(entry)
        self._states[place] = done.shard_account
        return entry

    def posted(self) -> list[Posted]:
        """The messages of the block, with who sent and who received each."""
        return [
            Posted(
                head.hash, head.norm, head.source, head.destination, head.created_lt, head.op,
                self.seqno, sent_by, received_by, head.cell.to_boc(),
            )
            for head, sent_by, received_by in self._messages.values()
        ]  # fmt: skip

    def _state(self, place: str) -> bytes:
        known = self._states.get(place)
        return known if known is not None else self._devnet.log.state(place) or ABSENT

    @staticmethod
    def _burnt(head: Head, entry: Entry, done: Transaction) -> int:
        """What left the accounts for good: whatever came in and is neither kept nor sent on."""
        kept = Account.read(entry.after).balance - Account.read(entry.before).balance
        sent = sum(read_head(cell).value or 0 for cell in done.out_messages)
        return (head.value or 0) - kept - sent


def _network_of(config: bytes) -> int:
    parameter = Reader(read_dict(parse_boc(config), 32)[_GLOBAL_ID]).into()
    return parameter.signed(32)


def _readable(message: Cell) -> Head:
    try:
        head = read_head(message)
    except MalformedCell as cause:
        raise BadArgument(cause.message) from cause
    if head.destination is None or not head.destination.startswith(_CHAINS):
        raise BadArgument("the message is for no account of workchain 0 or -1")
    if (head.value or 0) > MAX_COINS:
        raise BadArgument("no message carries as much")
    return head


def _not_accepted(cause: MessageNotAccepted) -> str:
    """As liteservers say it, so that clients find the exit code where they look for it."""
    code = "" if cause.exit_code is None else f", exitcode={cause.exit_code}"
    return (
        "LITE_SERVER_UNKNOWN: cannot apply external message to current state : "
        f"External message was not accepted\n{cause.message}{code}"
    )
