"""What a transaction did: exit code, gas, fees, messages (block.tlb, ordinary ones only)."""

from dataclasses import dataclass

from pytoniq_core import Cell

from ton.codec.cells import Reader, parse_boc, read_dict
from ton.errors import MalformedCell

_SUSPENDED = 0b11
"""The reason for a skipped computation that has a third bit."""
SKIPPED = -1
"""`exit_code` where the account had no code to run, or no gas to run it with."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message's effect on one account. All amounts are nano.

    The account's balance obeys `before + value in = values out + fees + after`, to the nano.
    `exit_code` is that of the code; `action_code` says whether its messages could be sent.
    """

    hash: bytes
    account: bytes
    lt: int
    now: int
    in_message: Cell | None
    out_messages: tuple[Cell, ...]
    total_fees: int
    forward_fees: int
    storage_fee: int
    exit_code: int
    gas_used: int
    action_code: int
    aborted: bool
    bounced: bool
    destroyed: bool

    @property
    def fees(self) -> int:
        """Everything that neither the account nor a receiver has afterwards.

        `total_fees` are this block's; the rest of the forward fees travels with the messages.
        """
        return self.total_fees + self.forward_fees

    @property
    def succeeded(self) -> bool:
        """Whether the code ran to its end and all it asked for was done."""
        return self.exit_code in (0, 1) and self.action_code == 0 and not self.aborted

    @classmethod
    def read(cls, boc: bytes) -> "Transaction":
        """A transaction from its bag of cells; raises `MalformedCell`."""
        return cls.of(parse_boc(boc))

    @classmethod
    def of(cls, cell: Cell) -> "Transaction":
        """A transaction's own cell; raises `MalformedCell`."""
        reader = Reader(cell).tag(0b0111, 4)
        account, lt = reader.octets(32), reader.uint(64)
        reader.octets(32)
        reader.uint(64)
        now = reader.uint(32)
        reader.uint(15 + 2 + 2)
        in_message, out_messages = _messages(reader.into())
        total_fees = reader.coins()
        reader.maybe_ref()
        reader.ref()
        phases = _Phases.read(reader.into())
        return cls(
            bytes(cell.hash), account, lt, now, in_message, out_messages, total_fees,
            phases.forward_fees, phases.storage_fee, phases.exit_code, phases.gas_used,
            phases.action_code, phases.aborted, phases.bounced, phases.destroyed,
        )  # fmt: skip


def _messages(reader: Reader) -> tuple[Cell | None, tuple[Cell, ...]]:
    incoming, outgoing = reader.maybe_ref(), reader.maybe_ref()
    if outgoing is None:
        return incoming, ()
    found = read_dict(outgoing, 15)
    return incoming, tuple(Reader(found[key]).ref() for key in sorted(found))


@dataclass(slots=True)
class _Phases:
    """The description of an ordinary transaction, phase by phase."""

    storage_fee: int = 0
    exit_code: int = SKIPPED
    gas_used: int = 0
    action_code: int = 0
    forward_fees: int = 0
    aborted: bool = False
    bounced: bool = False
    destroyed: bool = False

    @classmethod
    def read(cls, reader: Reader) -> "_Phases":
        if reader.uint(4):
            raise MalformedCell("only ordinary transactions are read here")
        phases = cls()
        reader.uint(1)
        if reader.uint(1):
            phases._storage(reader)
        if reader.uint(1):
            _skip_credit(reader)
        phases._compute(reader)
        action = reader.maybe_ref()
        if action is not None:
            phases._action(Reader(action))
        phases.aborted = bool(reader.uint(1))
        if reader.uint(1):
            phases._bounce(reader)
        phases.destroyed = bool(reader.uint(1))
        reader.end()
        return phases

    def _storage(self, reader: Reader) -> None:
        self.storage_fee = reader.coins()
        if reader.uint(1):
            reader.coins()
        _skip_status_change(reader)

    def _compute(self, reader: Reader) -> None:
        if not reader.uint(1):
            if reader.uint(2) == _SUSPENDED:
                reader.uint(1)
            return
        reader.uint(3)
        reader.coins()
        details = reader.into()
        self.gas_used = details.var_uint(3)
        details.var_uint(3)
        if details.uint(1):
            details.var_uint(2)
        details.signed(8)
        self.exit_code = details.signed(32)

    def _action(self, reader: Reader) -> None:
        succeeded = reader.uint(1)
        reader.uint(2)
        _skip_status_change(reader)
        forward = reader.coins() if reader.uint(1) else 0
        counted = reader.coins() if reader.uint(1) else 0
        if succeeded:  # else its messages were never sent
            self.forward_fees += forward - counted
        self.action_code = reader.signed(32)

    def _bounce(self, reader: Reader) -> None:
        if reader.uint(1):
            reader.var_uint(3)
            reader.var_uint(3)
            reader.coins()
            self.forward_fees += reader.coins()
            self.bounced = True
        elif reader.uint(1):
            reader.var_uint(3)
            reader.var_uint(3)
            reader.coins()


def _skip_status_change(reader: Reader) -> None:
    if reader.uint(1):
        reader.uint(1)


def _skip_credit(reader: Reader) -> None:
    if reader.uint(1):
        reader.coins()
    reader.coins()
    reader.maybe_ref()
