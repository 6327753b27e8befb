"""A gateway that lies about a channel itself: its opening, its deposits, its books, its end.

And what happens to the client's own disk (SPEC 7.8, 7.9, 9.2).
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import (
    COST,
    DEPOSIT,
    NETWORK,
    OTHER_NETWORK,
    Parties,
    signer,
    tried,
)
from bombyx.attack.means.simulator import unix
from bombyx.attack.means.till import CAP, CAPS, Till, lay_down, till
from bombyx.attack.record import Role, Seen, defeated, judged, played, succeeded
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.store import BOOKS, ChannelStore, read_channel
from bombyx.errors import SetupError
from bombyx.money.channel.closing import CloseTerms, check_client_terms
from bombyx.money.channel.documents import CloseAnswer, check_close_answer
from bombyx.money.channel.identity import MAX_CHALLENGE_S
from bombyx.money.channel.spending import Flight, Purse, plan_top_up
from bombyx.money.channel.terms import Offer, PaymentTerms, check_new_channel, network_text

MANY = 40
MONTH_S = 30 * 86_400


def _opened(lie: Callable[[Parties, Offer], Offer]) -> Seen:
    """Whether a client opens a channel by an offer with this lie, beside the honest one."""
    parties = Parties()

    def open_by(offer: Offer) -> object:
        return check_new_channel(
            PaymentTerms(v="bombyx-402/1", error="payment_required", accepts=[offer]),
            network=NETWORK,
            gateways=frozenset({parties.gateway.public_key}),
            max_deposit=DEPOSIT,
        )

    honest = parties.offer(0)
    return tried(
        lambda: open_by(honest),
        lambda: open_by(lie(parties, honest)),
        got="the client would deposit",
    )


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: an unknown contract")
def contract_of_its_own_making() -> Seen:
    """Asks for a deposit in a contract of its own, which gives nothing back."""
    return _opened(lambda _, offer: replace(offer, code="ab" * 32))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: nobody vouches for this key")
def key_that_no_policy_names() -> Seen:
    """Asks for a deposit to a key that neither policy nor registry names."""
    return _opened(lambda _, offer: replace(offer, gateway_key=signer().public_key.hex()))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: more than the owner allows")
def deposit_beyond_the_cap() -> Seen:
    """Wants a least deposit above what the owner lets be locked."""
    return _opened(lambda _, offer: replace(offer, min_deposit=str(DEPOSIT + 1)))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: a longer period than any channel has")
def money_locked_for_years() -> Seen:
    """Wants a challenge period of years, in which the deposit cannot be had back."""
    return _opened(lambda _, offer: replace(offer, min_challenge_s=200 * MAX_CHALLENGE_S))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: no payment on the client's network")
def deposit_on_another_network() -> Seen:
    """Wants true money from a client that was set up for a test network."""
    return _opened(lambda _, offer: replace(offer, network=network_text(OTHER_NETWORK)))


# --- Deposits ---


def _topped_up(**lies: Any) -> Seen:
    """Whether a client sends money where these say, beside where it should go."""
    parties = Parties()

    def plan(**changes: Any) -> object:
        honest: dict[str, Any] = {
            "cost": COST,
            "wanted": 10 * COST,
            "to": parties.channel.account,
            "channel": parties.channel,
            "gateways": frozenset({parties.gateway.public_key}),
        }
        given = honest | changes
        caps = dataclasses.replace(CAPS, max_deposit=given.pop("cap", DEPOSIT))
        return plan_top_up(Purse(), caps, **given)

    return tried(plan, lambda: plan(**lies), got="the client would send money")


@played(Role.GATEWAY, Defence.TOP_UP, "top_up_refused: not the recomputed address")
def top_up_to_another_address() -> Seen:
    """Names another address for a channel's next deposit."""
    return _topped_up(to=Parties().channel.account)


@played(Role.GATEWAY, Defence.TOP_UP, "top_up_refused: the key is named no longer")
def top_up_of_a_dropped_gateway() -> Seen:
    """Wants a deposit for a channel to a gateway that the policy has dropped since."""
    return _topped_up(gateways=frozenset({signer().public_key}))


@played(Role.GATEWAY, Defence.TOP_UP, "deposit_cap: no more is locked than the owner allows")
def top_ups_without_end() -> Seen:
    """Asks for requests so dear that deposits pass the owner's cap."""
    return _topped_up(cost=DEPOSIT + 1)


# --- The end ---


def _agreed(*, proven: int, amount: int, **lies: Any) -> Seen:
    """Whether a client signs an end over `amount`, or with these lies, beside one over `proven`."""
    parties, now = Parties(), unix()
    purse = Purse(deposited=DEPOSIT, signed_max=proven, proven=proven, closing=True)

    def sign(
        amount: int, *, signed: int = -1, until: int = now + 60, inflight: bool = False
    ) -> object:
        over = CloseTerms(amount if signed < 0 else signed, until)
        signature = parties.gateway.sign_close(parties.channel, over).hex()
        told = CloseAnswer(str(amount), until, signature)
        terms, _ = check_close_answer(parties.channel, told)
        flights = {bytes(32): Flight(COST, now + 900, 0)} if inflight else {}
        check_client_terms(dataclasses.replace(purse, inflight=flights), terms, now=now)
        return terms

    return tried(lambda: sign(proven), lambda: sign(amount, **lies), got="the client would sign")


@played(Role.GATEWAY, Defence.CLOSING, "close_terms_refused: more than receipts prove")
def close_terms_above_the_proofs() -> Seen:
    """Offers an end over more than its receipts prove."""
    return _agreed(proven=5 * COST, amount=6 * COST)


@played(Role.GATEWAY, Defence.CLOSING, "close_terms_refused: not what the gateway signed")
def close_terms_signed_for_another_amount() -> Seen:
    """Shows a fair amount and its signature over another one."""
    return _agreed(proven=5 * COST, amount=5 * COST, signed=6 * COST)


@played(Role.GATEWAY, Defence.CLOSING, "close_terms_refused: good for ten minutes at most")
def end_signed_for_a_month_ahead() -> Seen:
    """Wants the client's signature on an end that it may execute for a month."""
    return _agreed(proven=5 * COST, amount=5 * COST, until=unix() + MONTH_S)


@played(Role.GATEWAY, Defence.CLOSING, "close_in_flight: requests still run")
def end_signed_while_requests_run() -> Seen:
    """Wants an end signed while it still answers, to have the answer and the deposit's rest."""
    return _agreed(proven=5 * COST, amount=5 * COST, inflight=True)


# --- The client's disk ---


@played(Role.GATEWAY, Defence.DISK_FIRST, "no voucher leaves before its books are on disk")
def voucher_that_the_disk_forgets() -> Seen:
    """Takes vouchers of a client whose disk is full, and which forgets them at its next start."""
    with till(lambda _, __: (200, [])) as ours:
        if ours.ask() != "200":
            raise ValueError("the client does not pay at all")
        before = len(ours.vouchers)
        _break(ours)
        codes = {ours.ask() for _ in range(MANY)}
        left = len(ours.vouchers) - before
        return judged(left > 0, f"{left} vouchers, {sorted(codes)}")


def _break(ours: Till) -> None:
    """From now on books cannot be written: their file is a folder that is not empty."""
    books = ours.payer.store.folder / BOOKS
    books.unlink()
    (books / "in the way").mkdir(parents=True)


@played(Role.GATEWAY, Defence.DISK_FIRST, "setup_error: another one has the channel")
def two_programs_on_one_channel() -> Seen:
    """Waits for two programs to pay from one folder, each up to the cap, and claims both."""
    with till(lambda _, __: (200, [])) as ours:
        try:
            second = ChannelStore(ours.payer.store.folder)
        except SetupError as error:
            return defeated(error.code)
        second.close()
        return succeeded("a second program opened the channel")


@played(Role.GATEWAY, Defence.DISK_FIRST, "a crash costs headroom, and no money")
def client_killed_again_and_again() -> Seen:
    """Crashes the client after each voucher, so that it forgets what it has signed."""
    with till(lambda _, __: (200, [])) as ours, contextlib.ExitStack() as stack:
        for number in range(MANY):
            ours.ask()
            # What a killed process leaves: its folder as it lies there at that moment.
            copy = ours.payer.store.folder.parent / f"life {number}"
            shutil.copytree(ours.payer.store.folder, copy)
            ours.payer = Payer(ChannelStore(copy), CAPS, clock=unix)
            stack.callback(ours.payer.close)
        if not ours.vouchers:
            raise ValueError("the client does not pay at all")
        return judged(ours.beyond > CAP, f"{ours.beyond} of {CAP} nano beyond receipts")


@played(Role.NEIGHBOUR, Defence.CHANNEL_ADDRESS, "setup_error: the address is another's")
def channel_record_altered() -> Seen:
    """Writes its own account into a channel's record, so that the next deposit goes there."""
    parties = Parties()
    with till(lambda _, __: (200, [])) as ours:
        folder = lay_down(ours.payer.store.folder.parent / "planted", parties)
        record = folder / "channel.json"
        text = record.read_text(encoding="ascii")
        account = parties.gateway_account.hex()

        def read(text: str) -> object:
            record.write_text(text, encoding="ascii")
            return read_channel(folder)

        return tried(
            lambda: read(text),
            lambda: read(text.replace(account, "ab" * 32)),
            got="the client would pay into another channel",
        )
