"""What a gateway owes a worker's owner, in both their books (SPEC 8).

The same contract with the roles turned: the gateway deposits and signs, the owner claims. One
cumulative voucher per owner goes with a batch of acknowledgements. Each side bounds the other: the
gateway signs only for what was billed, the worker runs only what deposit and credit cover. Chain
reads and claims are made outside of the enclave. Pure; amounts in nano, times in ms.
"""

from dataclasses import dataclass, replace

from bombyx.errors import ChannelBooks, Unpaid
from bombyx.money.channel.terms import NO_CEILING, Ceiling

VOUCHER_EVERY_MS = 250
"""At most so often one voucher per owner: a batch of acknowledgements is as old."""
UNSECURED_CREDIT = 50_000_000
"""What a worker runs without a deposit, and what a gateway owes before it opens a channel."""
HEADROOM_MINUTES = 10
"""A deposit lasts so long at the present pace: a top-up takes a minute."""
LEAST_DEPOSIT = UNSECURED_CREDIT
"""Nano of one deposit: its postage is then no more than some thousandths of it."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One owner in the gateway's books, over all its workers; totals since the channel opened.

    `deposited` is 0 without a channel: all is unsecured then.
    """

    billed: int = 0
    vouched: int = 0
    deposited: int = 0
    in_flight: int = 0

    def __post_init__(self) -> None:
        if min(self.vouched, self.in_flight, self.deposited) < 0 or self.vouched > self.billed:
            raise ChannelBooks("what is owed to an owner contradicts itself")

    @property
    def unpaid(self) -> int:
        """Billed and not covered by a voucher."""
        return self.billed - self.vouched


def dispatched(owed: Owed, worst: int) -> Owed:
    """A request goes to a worker, which earns `worst` at most."""
    return replace(owed, in_flight=owed.in_flight + worst)


def ended(owed: Owed, worst: int, *, billed: int) -> Owed:
    """Its disposition is final and stored; `billed` is the `amount_nano`, 0 unless billed."""
    if not 0 <= billed <= worst:
        raise ChannelBooks("a worker earns within the worst case of its request")
    return replace(owed, in_flight=owed.in_flight - worst, billed=owed.billed + billed)


def vouched(owed: Owed) -> Owed:
    """The books whose `vouched` may be signed once they are saved (SPEC 8.2).

    All that is billed, as far as the deposit reaches; the same books where nothing is new.
    """
    most = min(owed.billed, owed.deposited)
    return owed if most <= owed.vouched else replace(owed, vouched=most)


def adopted(owed: Owed, held: Ceiling) -> Owed:
    """A worker shows a voucher of ours (SPEC 8.1): what we signed we had billed.

    Heals books that were restored from an old copy; a `Ceiling` is proof of our signature.
    """
    best = max(owed.vouched, held.amount)
    return replace(owed, vouched=best, billed=max(owed.billed, best))


def funded(owed: Owed, deposited: int) -> Owed:
    """The chain finally holds so much in all."""
    return replace(owed, deposited=max(owed.deposited, deposited))


def deposit_wanted(owed: Owed, *, per_minute: int) -> int:
    """What the owner's channel should hold in all; 0 while nobody needs one (SPEC 8.4).

    More than `owed.deposited`: open or top up. Headroom is ten minutes of earnings or twice what
    runs, whichever is more.
    """
    if not owed.deposited and owed.billed < UNSECURED_CREDIT:
        return 0
    return owed.billed + max(HEADROOM_MINUTES * per_minute, 2 * owed.in_flight)


def deposit_now(owed: Owed, ordered: int, *, wanted: int, room: int) -> int:
    """What to deposit beyond the `ordered` total, or 0 (SPEC 8.4).

    Nothing before half of what should be ahead of the bills is used. `room` is what the gateway's
    operator lets lie in channels to this owner, less what does: one owner's burst must not lock
    the wallet from which all are paid.
    """
    if 2 * (ordered - owed.billed) >= wanted - owed.billed:
        return 0
    amount = min(max(wanted - ordered, LEAST_DEPOSIT), room)
    return amount if amount >= LEAST_DEPOSIT else 0


def with_new_channel(owed: Owed) -> Owed:
    """Another channel takes the place of one that ends: what no voucher covers moves along."""
    return replace(owed, billed=owed.unpaid, vouched=0, deposited=0)


@dataclass(frozen=True, slots=True)
class Earnings:
    """One gateway in a worker's books.

    `pending` is journalled and not disposed of, `billed` is disposed of as owed and not covered.
    `deposited` is what the owner saw on chain, not what the gateway said; `closing` likewise.
    """

    pending: int = 0
    billed: int = 0
    in_flight: int = 0
    deposited: int = 0
    best: Ceiling = NO_CEILING
    closing: bool = False

    def __post_init__(self) -> None:
        if min(self.pending, self.billed, self.in_flight, self.deposited) < 0:
            raise ChannelBooks("a worker's earnings contradict themselves")

    @property
    def unpaid(self) -> int:
        """Worked for, and no voucher that the chain would pay."""
        return self.pending + self.billed

    @property
    def secured(self) -> int:
        """How much of the best voucher the chain would pay."""
        return min(self.best.amount, self.deposited)


def credit_limit(earnings: Earnings, *, owner_limit: int | None, unsecured: int) -> int:
    """How much may be unpaid or in flight at once (SPEC 8.3)."""
    headroom = 0 if earnings.closing else earnings.deposited - earnings.secured
    backed = headroom + unsecured
    return backed if owner_limit is None else min(owner_limit, backed)


def admit(earnings: Earnings, worst: int, *, limit: int) -> Earnings:
    """Take a request that earns `worst` at most; raises `Unpaid`."""
    if worst < 0:
        raise ChannelBooks("a request earns no less than nothing")
    if earnings.unpaid + earnings.in_flight + worst > limit:
        raise Unpaid("the gateway owes this worker more than its limit")
    return replace(earnings, in_flight=earnings.in_flight + worst)


def journalled(earnings: Earnings, worst: int, *, amount: int) -> Earnings:
    """Its terminal statement is on disk, before it is sent; 0 where none was signed."""
    if not 0 <= amount <= worst:
        raise ChannelBooks("a statement stays within the worst case of its request")
    left = earnings.in_flight - worst
    return replace(earnings, in_flight=left, pending=earnings.pending + amount)


def disposed(earnings: Earnings, amount: int, *, is_owed: bool) -> Earnings:
    """The gateway's last word on a statement: it stays owed, or is the worker's loss (SPEC 6.6)."""
    billed = earnings.billed + (amount if is_owed else 0)
    return replace(earnings, pending=earnings.pending - amount, billed=billed)


def paid(earnings: Earnings, offered: Ceiling) -> Earnings:
    """A voucher came with an acknowledgement. One that is no higher than the best is an old one.

    What it exceeds this worker's own bills by is for other workers of the owner.
    """
    if offered.amount <= earnings.best.amount:
        return earnings
    return _covered(earnings, replace(earnings, best=offered))


def funds_seen(earnings: Earnings, deposited: int) -> Earnings:
    """The owner saw so much in the channel: vouchers that went beyond may now be good."""
    if deposited <= earnings.deposited:
        return earnings
    return _covered(earnings, replace(earnings, deposited=deposited))


def close_seen(earnings: Earnings) -> Earnings:
    """The gateway is closing its channel: what is signed can be claimed, nothing else counts."""
    return replace(earnings, closing=True)


def from_new_channel(earnings: Earnings) -> Earnings:
    """The gateway pays by another channel: what no voucher covers stays unpaid."""
    return replace(earnings, deposited=0, best=NO_CEILING, closing=False)


def _covered(before: Earnings, after: Earnings) -> Earnings:
    """Whatever the chain would now pay in addition covers what was billed."""
    covered = min(after.secured - before.secured, before.billed)
    return replace(after, billed=before.billed - covered)


def owner_gap(billed: int, best: Ceiling) -> int:
    """What the owner's workers were billed in all and no voucher covers, in nano.

    A gateway can show one rise of the total to two workers of an owner; only the sum tells, which
    is made outside, from all journals.
    """
    return max(billed - best.amount, 0)
