"""A gateway that has workers work and does not mean to pay them (SPEC 8).

Its vouchers are cheap to write: what counts is what lies in a channel of the owner's, as the owner
itself saw it on chain.
"""

from collections.abc import Callable

from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import COST, DEPOSIT, NETWORK, Parties, signer, tried
from bombyx.attack.means.simulator import unix
from bombyx.attack.record import Role, Seen, judged, played
from bombyx.errors import Unpaid
from bombyx.money.channel import payout
from bombyx.money.channel.closing import PayoutView, payout_claim_due
from bombyx.money.channel.identity import (
    MIN_CHALLENGE_S,
    PAYOUT_CHALLENGE_S,
    ChannelConfig,
    Code,
    admit,
)
from bombyx.money.channel.payout import Earnings, credit_limit
from bombyx.money.channel.terms import check_offered

MANY = 40
FOREIGN_CODE = Code(bytes(32), 7)
CREDIT = 5 * COST
"""What a worker runs unsecured."""

Pay = Callable[[Earnings], Earnings]


def _worked(earnings: Earnings, pay: Pay) -> tuple[int, Earnings, str]:
    """How many requests a worker runs, being paid after each so; its books, and why it stopped."""
    for count in range(MANY):
        limit = credit_limit(earnings, owner_limit=None, unsecured=CREDIT)
        try:
            earnings = payout.admit(earnings, COST, limit=limit)
        except Unpaid as error:
            return count, earnings, error.code
        earnings = payout.journalled(earnings, COST, amount=COST)
        earnings = pay(payout.disposed(earnings, COST, is_owed=True))
    return MANY, earnings, "never refused"


def _exploited(start: Earnings, pay: Pay, *, others: int = 0) -> Seen:
    """What a worker has worked for that no chain will pay; `others` of its voucher is not its."""
    parties = Parties()
    rising = iter(range(COST, DEPOSIT, COST))

    def honest(earnings: Earnings) -> Earnings:
        return payout.paid(earnings, parties.ceiling(next(rising)))

    if _worked(Earnings(deposited=DEPOSIT), honest)[0] < MANY:
        raise ValueError("a gateway that pays is not served either")
    count, after, why = _worked(start, pay)
    lost = count * COST - (min(after.best.amount, after.deposited) - others)
    return judged(lost > CREDIT, f"{lost} nano will not be paid, {CREDIT} may be: {why}")


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "gateway_unpaid: nothing beyond the credit")
def work_without_vouchers() -> Seen:
    """Sends request after request and never a voucher."""
    return _exploited(Earnings(), lambda earnings: earnings)


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "gateway_unpaid: only a deposit makes it payment")
def vouchers_on_an_empty_channel() -> Seen:
    """Pays with high vouchers on a channel in which nothing was deposited."""
    parties = Parties()
    rising = iter(range(COST, DEPOSIT, COST))
    return _exploited(
        Earnings(), lambda earnings: payout.paid(earnings, parties.ceiling(next(rising)))
    )


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "gateway_unpaid: no headroom once it is closing")
def work_on_a_closing_channel() -> Seen:
    """Starts to close a well-filled channel and has more work done before it is empty."""
    start = payout.close_seen(Earnings(deposited=DEPOSIT))
    return _exploited(start, lambda earnings: earnings)


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "gateway_unpaid: an old voucher pays for nothing")
def payout_voucher_replayed() -> Seen:
    """Sends the first voucher again with each acknowledgement."""
    first = Parties().ceiling(COST)
    start = Earnings(deposited=COST)
    return _exploited(start, lambda earnings: payout.paid(earnings, first))


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "the higher voucher stays")
def lower_payout_voucher_sent_later() -> Seen:
    """Sends a lower voucher after a higher one, so that the owner claims the lower."""
    parties = Parties()
    earnings = payout.paid(Earnings(deposited=DEPOSIT), parties.ceiling(10 * COST))
    held = payout.paid(earnings, parties.ceiling(COST)).best.amount
    return judged(held < 10 * COST, f"the owner holds a voucher over {held} nano")


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "gateway_unpaid: it covers what was billed before it")
def voucher_that_others_earned() -> Seen:
    """Shows a worker the voucher that others of its owner earned, and pays later work by it."""
    earned = 10 * COST
    start = payout.paid(Earnings(deposited=earned), Parties().ceiling(earned))
    return _exploited(start, lambda earnings: earnings, others=earned)


def _offered_channel(config: ChannelConfig, account: bytes, honest: Parties) -> Seen:
    """Whether a worker takes a payout channel, beside an honest one."""

    def take(config: ChannelConfig, account: bytes) -> object:
        return admit(
            NETWORK,
            config,
            account,
            payee=honest.gateway_account,
            payee_key=honest.gateway.public_key,
            min_period_s=PAYOUT_CHALLENGE_S,
        )

    good = honest.config(challenge_period=PAYOUT_CHALLENGE_S)
    return tried(
        lambda: take(good, good.account()),
        lambda: take(config, account),
        got="the worker takes it for payment",
    )


@played(Role.GATEWAY, Defence.CHANNEL_ADDRESS, "channel_address: not the published code")
def payout_channel_of_foreign_code() -> Seen:
    """Pays by a contract of its own making, from which nothing can be claimed."""
    parties = Parties()
    good = parties.config(challenge_period=PAYOUT_CHALLENGE_S)
    return _offered_channel(good, good.account(FOREIGN_CODE), parties)


@played(Role.GATEWAY, Defence.CHANNEL_ADDRESS, "channel_not_ours: it pays another account")
def payout_channel_to_itself() -> Seen:
    """Pays by a channel whose claims go to an account of its own."""
    parties = Parties()
    own = parties.config(gateway=parties.client_account, challenge_period=PAYOUT_CHALLENGE_S)
    return _offered_channel(own, own.account(), parties)


@played(Role.GATEWAY, Defence.CHANNEL_ADDRESS, "channel_not_ours: the owner does not have the key")
def payout_channel_it_can_end_itself() -> Seen:
    """Pays by a channel that it can close with both keys, at nothing, whenever it likes."""
    parties = Parties()
    own = parties.config(gateway_key=signer().public_key, challenge_period=PAYOUT_CHALLENGE_S)
    return _offered_channel(own, own.account(), parties)


@played(Role.GATEWAY, Defence.CHANNEL_ADDRESS, "channel_period: 72 hours at least")
def payout_channel_emptied_overnight() -> Seen:
    """Pays by a channel that it can empty in an hour, while the owner sleeps."""
    parties = Parties()
    short = parties.config(challenge_period=MIN_CHALLENGE_S)
    return _offered_channel(short, short.account(), parties)


@played(Role.GATEWAY, Defence.VOUCHER, "voucher_foreign: of another channel")
def payout_voucher_of_another_owner() -> Seen:
    """Pays a worker with a voucher of another owner's channel."""
    parties, other = Parties(), Parties()
    return tried(
        lambda: check_offered(parties.voucher(COST), parties.channel),
        lambda: check_offered(other.voucher(COST), parties.channel),
        got="the worker takes it for payment",
    )


@played(Role.GATEWAY, Defence.CLOSING, "a claim is due at once, however small")
def close_while_the_owner_waits() -> Seen:
    """Starts a close while the owner still waits for its voucher to be worth the gas."""
    best, cost = Parties().ceiling(10 * COST), COST
    if payout_claim_due(best, PayoutView(DEPOSIT, 0), cost=cost) is not None:
        raise ValueError("the owner does not wait at all")
    due = payout_claim_due(best, PayoutView(DEPOSIT, 0, close_at=unix() + 60), cost=cost)
    return judged(due != best.amount, f"{due} of {best.amount} nano are claimed")


@played(Role.GATEWAY, Defence.WORKER_CREDIT, "the owner's sum of bills shows what is missing")
def one_voucher_shown_to_two_workers() -> Seen:
    """Shows one rise of the total to two workers of an owner, as if it had paid both."""
    parties = Parties()
    both = []
    for _ in range(2):
        earnings = payout.journalled(
            payout.admit(Earnings(deposited=DEPOSIT), COST, limit=CREDIT), COST, amount=COST
        )
        earnings = payout.disposed(earnings, COST, is_owed=True)
        both.append(payout.paid(earnings, parties.ceiling(COST)))
    gap = payout.owner_gap(2 * COST, max((one.best for one in both), key=lambda one: one.amount))
    return judged(gap < COST, f"the owner sees {gap} nano that no voucher covers")
