"""A channel and its books as they lie on disk, in canonical JSON (SPEC 7.9).

`channel.json` never changes once it is written. `books.json` is the purse, whole, each time.
"""

from typing import Literal

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import NotCanonical, SetupError
from bombyx.money.channel.documents import Registration, config_of, registration_of
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.spending import Flight, Flights, Purse
from bombyx.money.voucher import VoucherSigner
from bombyx.units import Count, Hex32, NanoText


class ChannelRecord(Document, frozen=True):
    """What a channel is and who uses it: the gateway's identity key, and the payer that signs.

    `origin` is the gateway's URL at the time of opening, for commands; `opened_at` unix seconds;
    `min_deposit` what the gateway asked for then.
    """

    v: Literal["bombyx-wallet/1"]
    registration: Registration
    identity: Hex32
    payer: Hex32
    origin: str
    opened_at: Count
    min_deposit: NanoText

    @property
    def channel(self) -> Channel:
        """Recomputed; raises `ChannelAddressWrong` and `ValueError` for a file that was changed."""
        registration = self.registration
        network = int(registration.network.removeprefix("tvm:"))
        channel = Channel(network, config_of(registration))
        if channel.account.hex() != registration.channel:
            raise ValueError("the address does not follow from the configuration")
        return channel


def record_of(
    channel: Channel,
    signer: VoucherSigner,
    *,
    identity: str,
    payer: str,
    origin: str,
    opened_at: int,
    min_deposit: int = 0,
) -> ChannelRecord:
    """The document of a channel of ours; `signer` holds its session key."""
    registration = registration_of(channel, signer)
    return ChannelRecord(
        "bombyx-wallet/1", registration, identity, payer, origin, opened_at, str(min_deposit)
    )


class FlightRecord(Document, frozen=True):
    """A request whose charge is not known."""

    c: Hex32
    cost: NanoText
    deadline: Count
    day: Count
    corrected: bool = False


class Books(Document, frozen=True):
    """A purse of one channel."""

    v: Literal["bombyx-books/1"]
    channel: Hex32
    deposited: NanoText
    signed_max: NanoText
    proven: NanoText
    topping_up: NanoText
    spent_today: NanoText
    day: Count
    inflight: list[FlightRecord]
    lapsed: list[FlightRecord]
    closing: bool = False
    alarm: str = ""


def encode_books(purse: Purse, channel: str) -> bytes:
    """Canonical bytes; `channel` is the account in hex."""
    return canonical.encode(
        Books(
            v="bombyx-books/1",
            channel=channel,
            deposited=str(purse.deposited),
            signed_max=str(purse.signed_max),
            proven=str(purse.proven),
            topping_up=str(purse.topping_up),
            spent_today=str(purse.spent_today),
            day=purse.day,
            inflight=_rows(purse.inflight),
            lapsed=_rows(purse.lapsed),
            closing=purse.closing,
            alarm=purse.alarm,
        )
    )


def decode_books(data: bytes, channel: str) -> Purse:
    """The purse of a channel; raises `SetupError` for anything else than its books."""
    try:
        books = canonical.decode(data, Books)
    except NotCanonical as error:
        raise SetupError(
            f"the books of the channel {channel} are broken: {error.message}"
        ) from None
    if books.channel != channel:
        raise SetupError(f"these are not the books of the channel {channel}")
    return Purse(
        deposited=int(books.deposited),
        signed_max=int(books.signed_max),
        proven=int(books.proven),
        inflight=_flights(books.inflight),
        lapsed=_flights(books.lapsed),
        topping_up=int(books.topping_up),
        day=books.day,
        spent_today=int(books.spent_today),
        closing=books.closing,
        alarm=books.alarm,
    )


def _rows(flights: Flights) -> list[FlightRecord]:
    return [
        FlightRecord(c.hex(), str(one.cost), one.deadline, one.day, one.corrected)
        for c, one in flights.items()
    ]


def _flights(rows: list[FlightRecord]) -> Flights:
    return {
        bytes.fromhex(row.c): Flight(int(row.cost), row.deadline, row.day, row.corrected)
        for row in rows
    }
