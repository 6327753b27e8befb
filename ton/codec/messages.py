"""Bodies of the messages to and from a channel, each a frozen value (SPEC 7.3, 9).

`parse_incoming` and `parse_outgoing` read whatever a chain shows; what is not exactly one of ours
raises `MalformedCell`. Amounts are nano, query ids are the sender's own.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from pytoniq_core import Cell

from ton.codec.cells import Reader, Writer
from ton.codec.constants import Op
from ton.codec.signed import CloseTerms, Voucher
from ton.errors import MalformedCell

SIGNATURE_BYTES = 64


class Body:
    """A message body: op code, query id, fields."""

    __slots__ = ()
    op: ClassVar[Op]
    query_id: int

    def cell(self) -> Cell:
        """The body; raises `MalformedCell` for what does not fit."""
        writer = Writer().uint(self.op, 32).uint(self.query_id, 64)
        self._write(writer)
        return writer.cell()

    @classmethod
    def read(cls, cell: Cell) -> Self:
        """The one value with this encoding; raises `MalformedCell`."""
        reader = Reader(cell).tag(cls.op)
        body = cls._read(reader, reader.uint(64))
        reader.end()
        return body

    def _write(self, writer: Writer) -> None:
        """Append what follows the query id."""

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Bare(Body):
    """A body with no fields of its own."""

    query_id: int

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:  # noqa: ARG003 - nothing follows
        return cls(query_id)


@dataclass(frozen=True, slots=True)
class Claiming(Body):
    """An amount, and the voucher that covers it."""

    query_id: int
    amount: int
    signature: bytes
    voucher: Voucher

    def _write(self, writer: Writer) -> None:
        writer.coins(self.amount).octets(self.signature, SIGNATURE_BYTES).ref(self.voucher.cell())

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        amount, signature = reader.coins(), reader.octets(SIGNATURE_BYTES)
        return cls(query_id, amount, signature, Voucher.read(reader.ref()))


@dataclass(frozen=True, slots=True)
class TopUp(Body):
    """Adds `amount` to the deposit; the first one carries the state init."""

    op = Op.TOP_UP
    query_id: int
    amount: int

    def _write(self, writer: Writer) -> None:
        writer.coins(self.amount)

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        return cls(query_id, reader.coins())


class Claim(Claiming):
    """Pays the gateway what `amount` exceeds earlier claims by."""

    __slots__ = ()
    op = Op.CLAIM


class GatewayClose(Claiming):
    """Claims like `Claim`, for the last time, and returns the rest to the client."""

    __slots__ = ()
    op = Op.GATEWAY_CLOSE


@dataclass(frozen=True, slots=True)
class CoopClose(Body):
    """Closes at once, as both signed."""

    op = Op.COOP_CLOSE
    query_id: int
    client_signature: bytes
    terms: CloseTerms
    gateway_signature: bytes

    def _write(self, writer: Writer) -> None:
        writer.octets(self.client_signature, SIGNATURE_BYTES).ref(self.terms.cell())
        writer.ref(Writer().octets(self.gateway_signature, SIGNATURE_BYTES).cell())

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        client_signature, terms = reader.octets(SIGNATURE_BYTES), CloseTerms.read(reader.ref())
        inner = reader.into()
        gateway_signature = inner.octets(SIGNATURE_BYTES)
        inner.end()
        return cls(query_id, client_signature, terms, gateway_signature)


class StartClose(Bare):
    """The client starts the challenge period."""

    __slots__ = ()
    op = Op.START_CLOSE


class FinishClose(Bare):
    """Anybody ends a channel whose challenge period is over."""

    __slots__ = ()
    op = Op.FINISH_CLOSE


class Excesses(Bare):
    """What is left of a message's value, back to its sender."""

    __slots__ = ()
    op = Op.EXCESSES


@dataclass(frozen=True, slots=True)
class Payout(Body):
    """Money to the gateway; `claimed` is the new total."""

    op = Op.PAYOUT
    query_id: int
    claimed: int

    def _write(self, writer: Writer) -> None:
        writer.coins(self.claimed)

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        return cls(query_id, reader.coins())


@dataclass(frozen=True, slots=True)
class ChannelClosed(Body):
    """The rest to the client: the channel is over."""

    op = Op.CHANNEL_CLOSED
    query_id: int
    claimed: int
    refunded: int

    def _write(self, writer: Writer) -> None:
        writer.coins(self.claimed).coins(self.refunded)

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        return cls(query_id, reader.coins(), reader.coins())


@dataclass(frozen=True, slots=True)
class CloseStarted(Body):
    """A notice to the gateway: claims are good until somebody finishes after `close_at`."""

    op = Op.CLOSE_STARTED
    query_id: int
    close_at: int
    claimed: int

    def _write(self, writer: Writer) -> None:
        writer.uint(self.close_at, 32).coins(self.claimed)

    @classmethod
    def _read(cls, reader: Reader, query_id: int) -> Self:
        return cls(query_id, reader.uint(32), reader.coins())


Incoming = TopUp | Claim | CoopClose | StartClose | FinishClose | GatewayClose
Outgoing = Excesses | Payout | ChannelClosed | CloseStarted

_INCOMING: dict[int, type[Incoming]] = {
    int(kind.op): kind for kind in (TopUp, Claim, CoopClose, StartClose, FinishClose, GatewayClose)
}
_OUTGOING: dict[int, type[Outgoing]] = {
    int(kind.op): kind for kind in (Excesses, Payout, ChannelClosed, CloseStarted)
}


def parse_incoming(body: Cell) -> Incoming:
    """A message to a channel; raises `MalformedCell`."""
    kind = _INCOMING.get(Reader(body).uint(32))
    if kind is None:
        raise MalformedCell("no message to a channel begins so")
    return kind.read(body)


def parse_outgoing(body: Cell) -> Outgoing:
    """A message from a channel; raises `MalformedCell`."""
    kind = _OUTGOING.get(Reader(body).uint(32))
    if kind is None:
        raise MalformedCell("no message from a channel begins so")
    return kind.read(body)
