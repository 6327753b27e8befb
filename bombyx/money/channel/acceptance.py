"""A channel in the gateway's books (SPEC 7.5 to 7.7): one row, and what may happen to it.

At all times `charged + reserved <= min(ceiling, deposited)`: what was served is covered by the
client's signature and by money in the contract. A shell writes `reserve` as one UPDATE under that
condition, in the transaction of the claim; here is what it must come to. Signatures are checked
before, by `terms.check_offered`: a `Ceiling` is proof of it. No clock: `now` is unix seconds.
"""

from dataclasses import dataclass, replace

from bombyx.errors import (
    ChannelBooks,
    ChannelClosed,
    ChannelClosing,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
    CloseTermsRefused,
    DepositTooLow,
    VoucherRequired,
)
from bombyx.money.channel.terms import NO_CEILING, Ceiling

MAX_TERMS_S = 600
"""Close terms are good for ten minutes at most: so long the channel serves nobody."""
CLOCK_MARGIN_S = 300
"""How far the chain's clock may be behind ours: until then terms could still be executed."""


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """Totals in nano since the channel opened. `deposited` is finalised and agreed by providers.

    `closing`: no new reserves; `close_at` is the chain's deadline after a StartClose, else 0.
    `terms_until`: until when close terms that we signed are good. `ending`: our operator closes it,
    for good. `halted`: the chain paid more than these books know of.
    """

    deposited: int = 0
    charged: int = 0
    reserved: int = 0
    ceiling: Ceiling = NO_CEILING
    claimed: int = 0
    closing: bool = False
    close_at: int = 0
    terms_until: int = 0
    ending: bool = False
    closed: bool = False
    halted: bool = False

    def __post_init__(self) -> None:
        owed = self.charged + self.reserved
        covered = min(self.ceiling.amount, self.deposited)
        if min(self.deposited, self.charged, self.reserved, self.claimed) < 0 or owed > covered:
            raise ChannelBooks("a channel's books contradict themselves")
        if self.claimed > self.charged and not self.halted:
            raise ChannelBooks("a channel paid more than its books know of")

    @property
    def unclaimed(self) -> int:
        """Charged and not yet paid by the chain."""
        return max(self.charged - self.claimed, 0)


def need(row: ChannelRow, cost: int) -> int:
    """What signature and deposit have to cover for one more request."""
    return row.charged + row.reserved + cost


def reserve(row: ChannelRow, cost: int, *, offered: Ceiling | None = None) -> ChannelRow:
    """Hold `cost` for a request (SPEC 7.6). A lower voucher than the best is no error.

    Raises `ChannelBooks`, `ChannelRolledBack`, `ChannelClosed`, `ChannelClosing`, `DepositTooLow`,
    `VoucherRequired`.
    """
    if cost < 0:
        raise ChannelBooks("a request costs no less than nothing")
    if row.halted:
        raise ChannelRolledBack("this channel waits for its operator")
    if row.closed:
        raise ChannelClosed("this channel was closed; open another one")
    if row.closing:
        raise ChannelClosing("this channel is being closed; open another one")
    wanted, best = need(row, cost), best_of(row.ceiling, offered)
    if wanted > row.deposited:
        raise DepositTooLow("the channel's deposit does not cover this request")
    if wanted > best.amount:
        raise VoucherRequired("the channel's vouchers do not cover this request")
    return replace(row, ceiling=best, reserved=row.reserved + cost)


def best_of(held: Ceiling, offered: Ceiling | None) -> Ceiling:
    """The higher one; requests overtake each other, so an old voucher may come late."""
    return offered if offered is not None and offered.amount > held.amount else held


def settle(row: ChannelRow, reserved: int, *, charge: int) -> ChannelRow:
    """A request ended: give its reserve back and keep the charge; raises `ChannelBooks`.

    Goes on while a channel is closing, closed or halted: what ran is to be counted.
    """
    if not 0 <= charge <= reserved <= row.reserved:
        raise ChannelBooks("a charge lies within its reserve, and that within the channel's")
    return replace(row, reserved=row.reserved - reserved, charged=row.charged + charge)


def top_up(row: ChannelRow, deposited: int) -> ChannelRow:
    """The chain finally holds so much in all; a provider that lags takes nothing away."""
    return replace(row, deposited=max(row.deposited, deposited))


def close_asked(row: ChannelRow) -> ChannelRow:
    """The client wants terms: no new reserves from here on; raises `ChannelClosed`."""
    if row.closed:
        raise ChannelClosed("this channel is closed already")
    return replace(row, closing=True)


def end_asked(row: ChannelRow) -> ChannelRow:
    """Its gateway's operator wants it ended: as `close_asked`, and it is not taken back (SPEC 9.3).

    Without a voucher there is nothing to end it by, so that its client may still take it back.
    Raises `ChannelRolledBack`, `ChannelClosed`.
    """
    if row.halted:
        raise ChannelRolledBack("this channel waits for its operator")
    return replace(close_asked(row), ending=row.ending or bool(row.ceiling.signature))


def check_end(row: ChannelRow) -> None:
    """Whether the gateway may end it by what was charged, and nothing is lost by it (SPEC 9.3).

    Raises `ChannelRolledBack`, `ChannelClosed`, `CloseNotAsked`, `CloseInFlight`.
    """
    if row.halted:
        raise ChannelRolledBack("this channel waits for its operator")
    if row.closed:
        raise ChannelClosed("this channel is closed already")
    if not row.closing:
        raise CloseNotAsked("this channel still takes requests")
    if row.reserved:
        raise CloseInFlight("requests of this channel still run")
    if not row.ceiling.signature:
        raise CloseNotAsked("there is no voucher to end it by: its client alone can close it")


def close_started(row: ChannelRow, close_at: int) -> ChannelRow:
    """A StartClose was seen, finalised or not: of two reports the earlier deadline counts."""
    if close_at <= 0:
        raise ChannelBooks("a close has a time")
    return replace(row, closing=True, close_at=min(row.close_at or close_at, close_at))


def sign_close_terms(row: ChannelRow, amount: int, *, valid_until: int, now: int) -> ChannelRow:
    """The gateway may sign terms over `amount` until then, once this row is saved (SPEC 9.2).

    Raises `ChannelRolledBack`, `ChannelClosed`, `CloseNotAsked`, `CloseInFlight`,
    `CloseTermsRefused`.
    """
    if row.halted:
        raise ChannelRolledBack("this channel waits for its operator")
    if row.closed:
        raise ChannelClosed("this channel is closed already")
    if not row.closing:
        raise CloseNotAsked("nobody is closing this channel")
    if row.reserved:
        raise CloseInFlight("requests of this channel still run")
    if amount != row.charged:
        raise CloseTermsRefused("close terms name exactly what was charged")
    if not now < valid_until <= now + MAX_TERMS_S:
        raise CloseTermsRefused("close terms are good for ten minutes at most")
    return replace(row, terms_until=max(row.terms_until, valid_until))


def reopened(row: ChannelRow, *, now: int) -> ChannelRow:
    """Nothing came of a close that was only asked for: serve again.

    Raises `ChannelClosing` while our terms could still be executed or the chain is closing, and
    where our operator ends it: the last claim may be on its way.
    """
    if row.closed or row.ending or row.close_at or now <= row.terms_until + CLOCK_MARGIN_S:
        raise ChannelClosing("this channel is still being closed")
    return replace(row, closing=False)


def claimed(row: ChannelRow, total: int) -> ChannelRow:
    """The chain has paid so much in all; raises `ChannelRolledBack` above what we charged.

    Only the chain's own word counts here: a claim that was sent may have failed.
    """
    if total > row.charged:
        raise ChannelRolledBack("the chain paid more than these books know of: an old copy?")
    return replace(row, claimed=max(row.claimed, total))


def rolled_back(row: ChannelRow, total: int) -> ChannelRow:
    """How the row stands after `claimed` was refused: nothing more is served, claimed or signed."""
    return replace(row, claimed=max(row.claimed, total), halted=True)


def resumed(row: ChannelRow, total: int, *, held: Ceiling) -> ChannelRow:
    """A person has looked at a halted channel: what the chain paid counts as charged (SPEC 7.7).

    `held` is the best voucher that the chain shows. Nothing is lowered, so that neither the client
    is charged anew for what it has paid, nor the chain for what it has given; another row than a
    halted one stays as it is. Raises `ChannelClosed`, `CloseInFlight` while requests run, and
    `ChannelRolledBack` where voucher or deposit do not cover it.
    """
    if row.closed:
        raise ChannelClosed("this channel is closed already")
    if not row.halted:
        return row
    if row.reserved:
        raise CloseInFlight("requests of this channel still run")
    paid, best = max(row.claimed, total), best_of(row.ceiling, held)
    charged = max(row.charged, paid)
    if charged > min(best.amount, row.deposited):
        raise ChannelRolledBack("the chain shows no voucher or deposit for what it paid")
    return replace(row, ceiling=best, charged=charged, claimed=paid, halted=False)


def closed(row: ChannelRow) -> ChannelRow:
    """The contract is a tombstone: never again, even where the same address is deployed anew."""
    return replace(row, closing=True, closed=True)
