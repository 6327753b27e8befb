"""The end of a channel: a cheating client wants it before it has paid, or after (SPEC 7.7, 9).

Against the rules themselves, which the gateway's books apply to each row.
"""

from dataclasses import replace
from typing import Any

from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import (
    COST,
    DEPOSIT,
    Parties,
    tried,
)
from bombyx.attack.means.simulator import unix
from bombyx.attack.record import Role, Seen, judged, played
from bombyx.errors import ChannelRolledBack
from bombyx.money.channel.acceptance import (
    CLOCK_MARGIN_S,
    MAX_TERMS_S,
    ChannelRow,
    claimed,
    close_asked,
    close_started,
    closed,
    reopened,
    reserve,
    rolled_back,
    settle,
    sign_close_terms,
    top_up,
)
from bombyx.money.channel.closing import claim_due
from bombyx.money.channel.identity import MIN_CHALLENGE_S


def _busy(parties: Parties, **changes: Any) -> ChannelRow:
    """A channel on which one request was charged and one runs."""
    row = reserve(parties.row(), 2 * COST, offered=parties.ceiling(10 * COST))
    return replace(settle(row, COST, charge=COST), **changes)


@played(Role.CLIENT, Defence.CLOSING, "channel_closing: nothing new once a close is seen")
def request_on_a_closing_channel() -> Seen:
    """Starts a close on chain and goes on asking, until its deposit is back."""
    parties = Parties()
    row = _busy(parties)
    late = close_started(row, unix() + MIN_CHALLENGE_S)
    return tried(lambda: reserve(row, COST), lambda: reserve(late, COST), got="it was served")


@played(Role.CLIENT, Defence.CLOSING, "close_in_flight: requests still run")
def close_asked_while_requests_run() -> Seen:
    """Asks for close terms while an answer runs, which is then paid by nobody."""
    parties, now = Parties(), unix()
    running = close_asked(_busy(parties))
    idle = settle(running, COST, charge=COST)

    def sign(row: ChannelRow) -> object:
        return sign_close_terms(row, row.charged, valid_until=now + 60, now=now)

    return tried(lambda: sign(idle), lambda: sign(running), got="terms were signed")


@played(Role.CLIENT, Defence.CLOSING, "close_terms_refused: they name what was charged")
def close_terms_below_the_charges() -> Seen:
    """Wants an end signed over less than what was charged."""
    parties, now = Parties(), unix()
    row = settle(close_asked(_busy(parties)), COST, charge=COST)

    def sign(amount: int) -> object:
        return sign_close_terms(row, amount, valid_until=now + 60, now=now)

    return tried(lambda: sign(row.charged), lambda: sign(COST // 2), got="terms were signed")


@played(Role.CLIENT, Defence.CLOSING, "channel_closing: the terms could still be executed")
def close_terms_kept_for_later() -> Seen:
    """Takes signed terms, has the channel served again, and executes the terms after that."""
    parties, now = Parties(), unix()
    row = settle(close_asked(_busy(parties)), COST, charge=COST)
    until = now + MAX_TERMS_S
    signed = sign_close_terms(row, row.charged, valid_until=until, now=now)
    return tried(
        lambda: reopened(signed, now=until + CLOCK_MARGIN_S + 1),
        lambda: reserve(reopened(signed, now=until), COST),
        got="a request was served that the terms leave out",
    )


@played(Role.CLIENT, Defence.CLOSING, "close_terms_refused: good for ten minutes at most")
def close_terms_good_for_a_month() -> Seen:
    """Wants an end signed that stays good for a month, to execute it when it likes."""
    parties, now = Parties(), unix()
    row = settle(close_asked(_busy(parties)), COST, charge=COST)

    def sign(until: int) -> object:
        return sign_close_terms(row, row.charged, valid_until=until, now=now)

    return tried(
        lambda: sign(now + 60), lambda: sign(now + 30 * 86_400), got="the terms were signed"
    )


@played(Role.CLIENT, Defence.TOMBSTONE, "channel_closed: never again at this address")
def closed_channel_opened_again() -> Seen:
    """Deposits at the same address again after its end, where old vouchers would be good."""
    parties = Parties()
    row = settle(_busy(parties), COST, charge=COST)
    again = top_up(closed(row), 2 * DEPOSIT)
    return tried(
        lambda: reserve(row, COST),
        lambda: reserve(again, COST),
        got="the channel serves again",
    )


@played(Role.CLIENT, Defence.CHARGED_ONLY, "channel_rolled_back: a person must look")
def books_restored_from_an_old_copy() -> Seen:
    """Is served on books from before its last charges, which the chain has long paid."""
    parties = Parties()
    old = settle(_busy(parties), COST, charge=COST)

    def serve(row: ChannelRow, total: int) -> object:
        try:
            seen = claimed(row, total)
        except ChannelRolledBack:
            seen = rolled_back(row, total)
        return reserve(seen, COST)

    return tried(
        lambda: serve(old, old.charged),
        lambda: serve(old, old.charged + 3 * COST),
        got="a request was served",
    )


@played(Role.GATEWAY, Defence.CHARGED_ONLY, "the claim names what was charged")
def whole_ceiling_claimed() -> Seen:
    """Ends a channel on which little was charged by the high voucher that it holds."""
    parties = Parties()
    row = close_started(settle(_busy(parties), COST, charge=COST), unix() + 1)
    due = claim_due(row, cost=1, period=MIN_CHALLENGE_S, now=unix())
    if due is None:
        raise ValueError("nothing is claimed at all")
    return judged(due > row.charged, f"{due} of {row.ceiling.amount} nano, {row.charged} charged")
