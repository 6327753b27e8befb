"""A channel in the client's books (SPEC 7.9): what it signs, and what it believes.

The client trusts its own books alone. What a gateway says can make it send a voucher again, stop,
or ask for receipts; it never makes it sign more. At all times `signed_max - proven <=
max_inflight`: that much a gateway that lies can take.

The order of things is part of the rule: a state is on disk before its voucher leaves. So only a
`Saved` purse signs, and only what it holds. Pure: `now` and deadlines are unix seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NewType

from bombyx.errors import (
    ChannelBooks,
    ChannelClosed,
    ChannelClosing,
    ChannelHalted,
    CommitmentConflict,
    DailyCap,
    DepositCap,
    DepositTooLow,
    GatewayLied,
    InflightCap,
    PaymentRefused,
    ProofRefused,
    TopUpRefused,
    UnprovenCharges,
)
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import Ceiling, Claimed, Voucher, voucher_of
from bombyx.money.statement import Statement, Status
from bombyx.money.voucher import VoucherSigner

AHEAD = 4
"""A voucher covers so many more requests like this one, so that the next ones need none."""
DAY_S = 86_400
KEEP_LAPSED_S = 7 * DAY_S
"""How long a request that nobody proved may still be proven; gateways settle within minutes."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What the owner allows, in nano: at risk at once, a day, and locked in the contract."""

    max_inflight: int
    max_daily: int
    max_deposit: int
    min_top_up: int = 10_000_000
    """The contract takes no less (SPEC 7.3)."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A request whose charge is not known: its `max_cost_nano`, deadline, and day of asking."""

    cost: int
    deadline: int
    day: int
    corrected: bool = False
    """Whether a 402 was answered already: once is all (SPEC 7.9)."""


Flights = Mapping[bytes, Flight]
_OVER = (ChannelClosing.code, ChannelClosed.code)


@dataclass(frozen=True, slots=True)
class Purse:
    """Totals in nano since the channel opened; `inflight` and `lapsed` by c.

    `deposited` is what the chain finally holds, by our own look; `topping_up` is on its way.
    `lapsed` requests hold no headroom any more, but a receipt of theirs still counts. `alarm` is
    the code of the lie that halted this channel.
    """

    deposited: int = 0
    signed_max: int = 0
    proven: int = 0
    inflight: Flights = field(default_factory=dict)
    lapsed: Flights = field(default_factory=dict)
    topping_up: int = 0
    day: int = 0
    spent_today: int = 0
    closing: bool = False
    alarm: str = ""

    def __post_init__(self) -> None:
        sums = (self.deposited, self.signed_max, self.proven, self.topping_up, self.spent_today)
        if min(sums) < 0:
            raise ChannelBooks("a purse's books contradict themselves")

    @property
    def at_risk(self) -> int:
        """What the gateway could claim without having shown a receipt for it."""
        return max(self.signed_max - self.proven, 0)

    @property
    def reserved(self) -> int:
        """The most that requests in flight will cost."""
        return sum(flight.cost for flight in self.inflight.values())


Saved = NewType("Saved", Purse)
"""A purse that is on stable storage: only the wallet's store makes one."""


def voucher(saved: Saved, channel: Channel, signer: VoucherSigner) -> Voucher:
    """The highest voucher of this purse; the same bytes each time. Raises `ChannelHalted`."""
    _check_running(saved)
    signature = signer.sign(channel.template, saved.signed_max)
    return voucher_of(channel, Ceiling(saved.signed_max, 0, signature))


def spend(
    purse: Purse, caps: Caps, *, c: bytes, cost: int, deadline: int, now: int, lag: int = 0
) -> tuple[Purse, bool]:
    """Put a request in flight: the next purse, and whether a voucher must go along (SPEC 7.9).

    The same c again changes nothing: a retry sends the same bytes; one that lapsed counts anew.
    `deadline` is when the gateway must have settled, by the latest. `lag` is what it may still hold
    of requests that were proven just now: it is signed for within the cap. Raises `ChannelHalted`,
    `ChannelClosing`, `InflightCap`, `DailyCap`, `DepositTooLow`, `CommitmentConflict`,
    `ChannelBooks`.
    """
    _check_running(purse)
    if purse.closing:
        raise ChannelClosing("this channel is being closed")
    if cost < 0:
        raise ChannelBooks("a request costs no less than nothing")
    known = purse.inflight.get(c) or purse.lapsed.get(c)
    if known is not None and known.cost != cost:
        raise CommitmentConflict("this commitment was in flight with another cost")
    if c in purse.inflight:
        return purse, False
    # A clock that was set back does not begin the day anew.
    day = max(purse.day, now // DAY_S)
    today = purse.spent_today if day == purse.day else 0
    # What lapsed today still counts for today.
    today += 0 if known is not None and known.day == day else cost
    if today > caps.max_daily:
        raise DailyCap("the request would pass what may be spent in a day")
    signed = _signed_for(purse, caps, purse.proven + purse.reserved + cost, cost, lag=lag)
    after = replace(
        purse,
        signed_max=signed,
        inflight={**purse.inflight, c: Flight(cost, deadline, day)},
        lapsed=_without(purse.lapsed, c),
        day=day,
        spent_today=today,
    )
    return after, signed > purse.signed_max


def _check_running(purse: Purse) -> None:
    if purse.alarm:
        raise ChannelHalted(f"this channel's gateway lied ({purse.alarm}): close it")


def _signed_for(purse: Purse, caps: Caps, total: int, cost: int, *, lag: int = 0) -> int:
    """The ceiling that covers `total`, with room for requests like it, and never beyond the cap.

    A gateway settles a moment after the client has seen the receipt: until then it holds `lag` more
    than our books say. That is no reason to refuse, only one to sign ahead.
    """
    most = purse.proven + caps.max_inflight
    if total > most:
        raise InflightCap("the request would put more at risk than is allowed")
    if total > purse.deposited:
        raise DepositTooLow("the channel's deposit does not cover the request: top it up")
    total += lag
    if total <= purse.signed_max:
        return purse.signed_max
    return min(total + (AHEAD - 1) * cost, most, purse.deposited)


def prove(purse: Purse, statement: Statement, *, payer: str, gateway: str, now: int) -> Purse:
    """A verified receipt of a request in flight, or of one that lapsed, once per c (SPEC 7.9).

    Signature, arithmetic and all that 3.9 demands are the caller's, who knows the worker and the
    request. Raises `ProofRefused`: nothing is counted then.
    """
    if (statement.payer, statement.gateway) != (payer, gateway):
        raise ProofRefused("the receipt is another payer's or gateway's")
    c = bytes.fromhex(statement.c)
    flight = purse.inflight.get(c) or purse.lapsed.get(c)
    if flight is None:
        raise ProofRefused("the receipt is of no request that this channel awaits")
    charge = int(statement.charge_nano)
    if charge > flight.cost:
        raise ProofRefused("the receipt charges more than the request allowed")
    if statement.status is Status.PARTIAL and now <= flight.deadline:
        raise ProofRefused("a partial receipt settles nothing before the deadline")
    return _settled(purse, c, flight, charge)


def never_ran(purse: Purse, c: bytes) -> Purse:
    """It is proven that nothing is billed for c: by signatures (SPEC 14.3), or as it never left."""
    flight = purse.inflight.get(c) or purse.lapsed.get(c)
    return purse if flight is None else _settled(purse, c, flight, 0)


def _settled(purse: Purse, c: bytes, flight: Flight, charge: int) -> Purse:
    back = flight.cost - charge if flight.day == purse.day else 0
    return replace(
        purse,
        # May pass what was signed: what lapsed had given its headroom back. It was served.
        proven=purse.proven + charge,
        inflight=_without(purse.inflight, c),
        lapsed=_without(purse.lapsed, c),
        spent_today=purse.spent_today - back,
    )


def _without(flights: Flights, c: bytes) -> Flights:
    return {key: flight for key, flight in flights.items() if key != c}


def lapse(purse: Purse, c: bytes) -> Purse:
    """A request was refused, or nobody proved it: its headroom is free, a late receipt counts.

    Whoever lied about it gains nothing: what is signed already covers it within the cap, and the
    next request signs no more than the books without it allow.
    """
    flight = purse.inflight.get(c)
    if flight is None:
        return purse
    lapsed = {**purse.lapsed, c: flight}
    return replace(purse, inflight=_without(purse.inflight, c), lapsed=lapsed)


def overdue(purse: Purse, *, now: int) -> list[bytes]:
    """Requests to ask receipts for (`GET /v1/receipts?c=`) and, where none comes, to `lapse`."""
    return [c for c, flight in purse.inflight.items() if flight.deadline < now]


def forget(purse: Purse, *, now: int) -> Purse:
    """Drop what lapsed long ago, so that the books stay small."""
    kept = {c: one for c, one in purse.lapsed.items() if one.deadline + KEEP_LAPSED_S >= now}
    return purse if len(kept) == len(purse.lapsed) else replace(purse, lapsed=kept)


def refused(purse: Purse, caps: Caps, said: Claimed, *, c: bytes) -> Purse:
    """Answer a 402: the purse whose voucher goes with the one repetition of c (SPEC 7.9).

    It signs what `spend` would have signed, whatever the 402 says: a ceiling that it shows was ours
    already. Raises `GatewayLied` (then save `halted`), `UnprovenCharges` (ask for the receipts of
    `lapsed`), `DepositTooLow` (the gateway has not seen our deposit), `ChannelClosing`,
    `PaymentRefused` (by our books or its own it holds enough), `ChannelHalted`.
    """
    _check_running(purse)
    if said.error in _OVER:
        raise ChannelClosing("the gateway says that this channel is being closed")
    flight = purse.inflight.get(c)
    if flight is None or flight.corrected:
        raise PaymentRefused("the gateway refuses this request for its payment again")
    # Its reserves are not compared: it may have written before a receipt that we hold by now.
    own = purse.proven + purse.reserved
    if said.charged > own:
        _suspect(purse, said.charged - own)
    if said.need > said.deposited:
        raise DepositTooLow("the gateway does not see enough of a deposit in this channel")
    if said.need <= said.ceiling:
        raise PaymentRefused("the gateway refuses what it holds a voucher for")
    known = replace(purse, signed_max=max(purse.signed_max, said.ceiling))
    signed = _signed_for(known, caps, own, flight.cost)
    inflight = {**purse.inflight, c: replace(flight, corrected=True)}
    return replace(purse, signed_max=signed, inflight=inflight)


def is_settling(purse: Purse, said: Claimed) -> bool:
    """Whether a 402 counts more than our books do: it still reserves for what we have receipts of.

    It settles in a moment, and the same bytes then fit: to wait signs nothing.
    """
    return said.need > purse.proven + purse.reserved


def _suspect(purse: Purse, excess: int) -> None:
    """Charges beyond our books: answers that we lost explain them, or they are a lie."""
    lost = sum(flight.cost for flight in purse.lapsed.values())
    if excess > lost:
        raise GatewayLied("the gateway charged more than all that this client ever asked for")
    raise UnprovenCharges("the gateway may have charged for answers that were lost")


def halted(purse: Purse, code: str) -> Purse:
    """After a lie: nothing is signed any more; the owner is offered to start a close."""
    return replace(purse, alarm=purse.alarm or code)


def closing(purse: Purse) -> Purse:
    """We started a close or asked for terms: no new requests. What runs may still be proven."""
    return replace(purse, closing=True)


def plan_top_up(
    purse: Purse,
    caps: Caps,
    *,
    cost: int,
    wanted: int,
    to: bytes,
    channel: Channel,
    gateways: frozenset[bytes],
) -> tuple[Purse, int]:
    """How much to send so that a request of `cost` fits; `wanted` is the owner's usual amount.

    The purse is saved before the money leaves. Raises `TopUpRefused` (another address than the
    recomputed one, or a key that policy and registry do not name), `DepositCap`, `ChannelClosing`,
    `ChannelHalted`.
    """
    _check_running(purse)
    if purse.closing:
        raise ChannelClosing("this channel is being closed")
    if to != channel.account or channel.config.gateway_key not in gateways:
        raise TopUpRefused("nothing vouches for this address as a channel of ours")
    missing = purse.proven + purse.reserved + cost - purse.deposited - purse.topping_up
    if missing <= 0:
        return purse, 0
    least = max(missing, caps.min_top_up)
    room = caps.max_deposit - (purse.deposited + purse.topping_up - purse.proven)
    if least > room:
        raise DepositCap("the top-up would lock more than is allowed")
    amount = min(max(least, wanted), room)
    return replace(purse, topping_up=purse.topping_up + amount), amount


def topped_up(purse: Purse, deposited: int) -> Purse:
    """The chain finally holds so much in all; an older look changes nothing."""
    more = max(deposited - purse.deposited, 0)
    left = max(purse.topping_up - more, 0)
    return replace(purse, deposited=purse.deposited + more, topping_up=left)


def top_up_failed(purse: Purse) -> Purse:
    """What was sent can no longer arrive (its message expired, or it bounced)."""
    return replace(purse, topping_up=0)
