"""A gateway that is paid by channel, and wants more than it serves (SPEC 7.8, 7.9).

It lies in its 402s, shows receipts that are none, or takes vouchers and answers nothing. Whatever
it does, it must never hold a voucher over more than the receipts it gave and the client's cap.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import COST, OTHER_NETWORK, Parties, signer
from bombyx.attack.means.till import CAP, CAPS, Answer, Rule, Till, refusal, till
from bombyx.attack.record import Role, Seen, judged, played
from bombyx.client.channel.paying import PAUSES_S
from bombyx.client.receipts import Sealed
from bombyx.client.refusals import MAX_ERROR_BYTES
from bombyx.money.channel.terms import Offer, network_text
from bombyx.money.statement import Statement, Status

MANY = 40
"""Requests of which each costs a tenth of the cap."""
HUGE = "900000000000"
_OK: Answer = (200, [])
_WRONG = ("terms_refused", "gateway_lied", "channel_halted", "payment_refused", "unproven_charges")

Lie = Callable[[Parties, Offer], Offer]


def _lying(lie: Lie) -> Rule:
    """A 402 that is right but for the lie, as long as anybody asks."""

    def answer(till: Till, sealed: Sealed) -> Answer:
        cost = int(sealed.request.header.header.max_cost_nano)
        honest = till.parties.terms(till.parties.row(), cost)
        offers = [lie(till.parties, honest.accepts[0])]
        return refusal(msgspec.structs.replace(honest, accepts=offers))

    return answer


def _told(**changes: str) -> Lie:
    """Other books than the true ones."""

    def lie(_: Parties, offer: Offer) -> Offer:
        books: Any = offer.books
        return msgspec.structs.replace(offer, books=msgspec.structs.replace(books, **changes))

    return lie


def _fooled(lie: Lie) -> Seen:
    """Whether a client answers a lying 402: by the same request again, which it must not."""
    with till(_lying(lie)) as ours:
        code = ours.ask()
        again = max(ours.sendings.values()) > 1
        return judged(again or code not in _WRONG, f"{code}; a voucher over {ours.highest} nano")


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: not the price of this request")
def price_raised_in_a_402() -> Seen:
    """Asks in a 402 for more than the request may cost, to have that much signed."""
    return _fooled(lambda _, offer: msgspec.structs.replace(offer, amount=HUGE))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: another key than the channel's")
def other_key_in_a_402() -> Seen:
    """Names another channel key in a 402 than the one that the channel is with."""
    key = signer().public_key.hex()
    return _fooled(lambda _, offer: msgspec.structs.replace(offer, gateway_key=key))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: no payment on the channel's network")
def other_network_in_a_402() -> Seen:
    """Asks for a voucher on mainnet from a client whose channel is on a test network."""
    network = network_text(OTHER_NETWORK)
    return _fooled(lambda _, offer: msgspec.structs.replace(offer, network=network))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: not of this channel")
def books_of_another_channel() -> Seen:
    """Shows the books of another channel, on which more was charged."""
    return _fooled(_told(channel=Parties().channel.account.hex()))


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: need is no sum")
def need_that_is_no_sum() -> Seen:
    """Says that much more is needed than was charged, is reserved and is asked for."""
    return _fooled(_told(need=HUGE, deposited=HUGE))


@played(Role.GATEWAY, Defence.TERMS, "gateway_lied: the channel signs nothing more")
def ceiling_never_signed() -> Seen:
    """Shows a ceiling under a signature of its own, as if the client had signed it."""

    def lie(parties: Parties, offer: Offer) -> Offer:
        forged = signer().sign(parties.channel.template, CAP).hex()
        return _told(ceiling=str(CAP), signature=forged)(parties, offer)

    return _halted(lie)


@played(Role.GATEWAY, Defence.TERMS, "gateway_lied: the channel signs nothing more")
def ceiling_without_signature() -> Seen:
    """Names a ceiling and shows no signature at all."""
    return _halted(_told(ceiling=str(CAP)))


@played(Role.GATEWAY, Defence.OWN_BOOKS, "gateway_lied: charged more than was ever asked for")
def charges_invented() -> Seen:
    """Says that it has charged more than the client ever asked for."""

    def lie(parties: Parties, offer: Offer) -> Offer:
        cost = int(offer.amount)
        return _told(charged=str(5 * CAP), need=str(5 * CAP + cost))(parties, offer)

    return _halted(lie)


def _halted(lie: Lie) -> Seen:
    """Whether a client signs anything after a lie that proves itself."""
    with till(_lying(lie)) as ours:
        code = ours.ask()
        before, ours.rule = len(ours.vouchers), lambda _, __: _OK
        after = ours.ask()
        signed = len(ours.vouchers) > before
        observed = f"{code}, then {after}"
        return judged(signed or (code, after) != ("gateway_lied", "channel_halted"), observed)


@played(Role.GATEWAY, Defence.OWN_BOOKS, "payment_refused: at most proven + max_inflight is signed")
def ceiling_demanded_beyond_the_cap() -> Seen:
    """Says in each 402 that it holds large reserves, so that the next voucher must be higher."""

    def lie(parties: Parties, offer: Offer) -> Offer:
        need = int(HUGE) + int(offer.amount)
        told = _told(reserved=HUGE, need=str(need), deposited=str(2 * need))
        return told(parties, offer)

    # Patience with a gateway that settles late costs nothing: it signs no more.
    return _drained(_lying(lie), repetitions=1 + len(PAUSES_S))


@played(Role.GATEWAY, Defence.OWN_BOOKS, "payment_refused: one repetition for each request")
def endless_402() -> Seen:
    """Answers each voucher with the same 402, to be sent ever higher ones for one request."""
    with till(_lying(lambda _, offer: offer)) as ours:
        one = ours.sealed()
        codes = {ours.ask(one) for _ in range(MANY)}
        _check_signed(ours, codes)
        most = max(ours.sendings.values())
        # The SDK's own repetitions begin anew; each may be answered once.
        won = most > 2 * MANY or ours.beyond > CAP
        return judged(won, f"{most} sendings, {ours.beyond} nano beyond receipts, {codes}")


def _check_signed(till: Till, codes: set[str]) -> None:
    """A client that never paid shows nothing; raises `ValueError`."""
    if not till.vouchers:
        raise ValueError(f"the client signed nothing at all: {codes}")


def _drained(rule: Rule, *, repetitions: int = 1) -> Seen:
    """How much can be claimed beyond receipts, of a client that asks until it may no more."""
    with till(rule) as ours:
        codes = {ours.ask() for _ in range(MANY)}
        _check_signed(ours, codes)
        won = ours.beyond > CAP or max(ours.sendings.values()) > repetitions
        return judged(won, f"{ours.beyond} of {CAP} nano beyond receipts, then {sorted(codes)}")


@played(Role.GATEWAY, Defence.OWN_BOOKS, "inflight_cap: nothing more is sent without receipts")
def receipts_withheld() -> Seen:
    """Takes request after request with its voucher, and never shows a receipt."""
    return _drained(lambda _, __: _OK)


@played(Role.GATEWAY, Defence.OWN_BOOKS, "what is signed stays within proven + max_inflight")
def refused_in_words_and_run() -> Seen:
    """Answers 503 to whatever it runs, so that the client takes its headroom back and signs on."""

    def answer(till: Till, sealed: Sealed) -> Answer:
        # What the session tells the books of such an answer.
        till.payer.turned_away(sealed.request.c)
        return 503, [b"{}"]

    return _drained(answer)


@played(Role.GATEWAY, Defence.OWN_BOOKS, "a receipt of a stranger's request proves nothing")
def receipt_of_a_strangers_request() -> Seen:
    """Shows genuine receipts of other users, so that this client's proven total rises."""
    return _proven({"payer": "ab" * 32})


@played(Role.GATEWAY, Defence.OWN_BOOKS, "a receipt of another gateway's request proves nothing")
def receipt_of_another_gateways_request() -> Seen:
    """Shows genuine receipts of this user's requests to another gateway."""
    return _proven({"gateway": "ab" * 32})


@played(Role.GATEWAY, Defence.OWN_BOOKS, "a receipt of what was never asked proves nothing")
def receipt_of_nothing_asked() -> Seen:
    """Shows a receipt, by a worker of its own, of a request that the client never made."""
    return _proven({"c": "ab" * 32})


@played(Role.GATEWAY, Defence.OWN_BOOKS, "a receipt above the request's limit proves nothing")
def receipt_above_the_limit() -> Seen:
    """Shows a receipt that charges more than the request allowed."""
    return _proven({"charge_nano": str(COST + 1)})


@played(Role.GATEWAY, Defence.OWN_BOOKS, "a partial receipt proves nothing before the deadline")
def partial_receipt_for_the_whole() -> Seen:
    """Shows a partial receipt while the request still runs, and the final one later."""
    return _proven({"status": Status.PARTIAL})


def _proven(changes: dict[str, Any]) -> Seen:
    """Whether a receipt with these changes raises what the client takes for proven."""
    with till(lambda _, __: _OK) as ours:
        for is_honest in (False, True):
            one = ours.sealed()
            ours.ask(one)
            honest = ours.statement(one)
            ours.payer.prove(honest if is_honest else _changed(honest, changes))
            if not is_honest:
                risen = ours.payer.purse.proven
        if ours.payer.purse.proven != risen + COST:
            raise ValueError("an honest receipt proved nothing")
        return judged(risen > 0, f"proven rose by {risen} nano")


def _changed(statement: Statement, changes: dict[str, Any]) -> Statement:
    return msgspec.structs.replace(statement, **changes)


@played(Role.GATEWAY, Defence.OWN_BOOKS, "a receipt counts once")
def receipt_shown_twice() -> Seen:
    """Shows one receipt again and again, each time to be allowed as much more."""
    with till(lambda _, __: _OK) as ours:
        one = ours.sealed()
        ours.ask(one)
        for _ in range(MANY):
            ours.payer.prove(ours.statement(one))
        proven = ours.payer.purse.proven
        if not proven:
            raise ValueError("an honest receipt proved nothing")
        return judged(proven > COST, f"{proven} nano are proven by a receipt over {COST}")


@played(Role.GATEWAY, Defence.OWN_BOOKS, "payment_refused: remembered, no reason to sign more")
def forgotten_ceiling_shown() -> Seen:
    """Shows a client with restored books a ceiling that it signed, to have a higher one signed."""
    forgotten = 20 * CAP

    def answer(till: Till, sealed: Sealed) -> Answer:
        cost = int(sealed.request.header.header.max_cost_nano)
        row = till.parties.row(forgotten)
        told = {"reserved": HUGE, "need": str(int(HUGE) + cost), "deposited": str(2 * int(HUGE))}
        return refusal(till.parties.terms(row, cost, **told))

    with till(answer) as ours:
        codes = {ours.ask() for _ in range(MANY)}
        _check_signed(ours, codes)
        observed = f"{ours.highest} nano signed, {forgotten} before; {sorted(codes)}"
        return judged(ours.highest > forgotten, observed)


@played(Role.GATEWAY, Defence.TERMS, "bad_answer: no more is read than a 402 can need")
def endless_body_of_a_402() -> Seen:
    """Sends a 402 whose body never ends, to fill the client's memory."""
    piece = b" " * 2**16
    with till(lambda _, __: (402, [piece] * 1024)) as ours:
        code = ours.ask()
        return judged(ours.read > 2 * MAX_ERROR_BYTES, f"{code} after {ours.read} bytes")


@played(Role.GATEWAY, Defence.TERMS, "terms_refused: they are too long, or nested too deep")
def terms_that_choke_the_reader() -> Seen:
    """Sends terms that are thousands of lists deep, or longer than any."""
    bodies = [
        b'{"payment":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"payment":{"v":"bombyx-402/1","error":"' + b"x" * 20_000 + b'","accepts":[]}}',
    ]
    codes = []
    for body in bodies:
        with till(lambda _, __, body=body: (402, [body])) as ours:  # type: ignore[misc]
            try:
                codes.append(ours.ask())
            except RecursionError as error:
                codes.append(type(error).__name__)
    # Without readable terms the 402 is passed on as it is.
    return judged(any(one not in ("402", "terms_refused") for one in codes), f"{codes}")


@played(Role.GATEWAY, Defence.OWN_BOOKS, "daily_cap: the owner's limit for a day holds")
def day_spent_in_an_hour() -> Seen:
    """Serves and proves ever more, past what the owner allows for a day."""
    caps = replace(CAPS, max_daily=5 * COST)
    with till(lambda _, __: _OK, caps=caps) as ours:
        codes = set[str]()
        for _ in range(MANY):
            one = ours.sealed()
            codes.add(ours.ask(one))
            ours.payer.prove(ours.statement(one))
        _check_signed(ours, codes)
        proven = ours.payer.purse.proven
        return judged(proven > caps.max_daily, f"{proven} nano in a day, then {sorted(codes)}")
