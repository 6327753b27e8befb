"""What a session does around a request that a channel pays (SPEC 7.9): steps without I/O.

Before: what is overdue is asked for, the books change, and the voucher waits for the disk. After a
402: receipts, a deposit or a voucher that the gateway lacks, and the same bytes once more.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from bombyx.client.channel.payer import HEADER, Payer
from bombyx.client.channel.store import Saving
from bombyx.client.effects import (
    ClearRequest,
    Effect,
    Head,
    Headers,
    NeverSent,
    Pause,
    Reply,
    Send,
    Wait,
    read_all,
    send,
)
from bombyx.client.finding import own_headers
from bombyx.client.receipts import Sealed
from bombyx.client.refusals import MAX_ERROR_BYTES, GatewayError, gateway_error
from bombyx.errors import (
    DepositTooLow,
    InflightCap,
    NotCanonical,
    PaymentRequired,
    TermsRefused,
    UnprovenCharges,
)
from bombyx.money.channel.documents import encode_registration
from bombyx.money.channel.terms import PaymentTerms, decode_terms

PAYMENT_REQUIRED = 402
PAUSES_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Before each repetition while the gateway settles what we hold receipts of: workers that have
little to do tell it once a second (SPEC 1.5)."""
ASKED_AT_ONCE = 4
"""Receipts asked for before a request: it waits for them."""
SKEW_S = 600
MAX_DEADLINE_S = 86_400
"""A gateway that names a longer one would only lock up headroom."""
_OK = 200
_TURNED_AWAY = range(400, 500)
_UNCERTAIN = frozenset({408, 409, 422, 499})
"""Of these, those that a request may have after its claim, or that want proof (14.3)."""
_UNAVAILABLE = 503
"""Its like of 500, 502 and 504 may come from somebody between, who knows nothing of the claim."""

Post = Callable[[Headers], Generator[Effect, Reply, Head]]


class Funder(Protocol):
    """Moves money into channels, within the owner's caps."""

    def top_up(self, payer: Payer, cost: int) -> Saving:
        """Bring so much more into a channel; the books have it once `done`."""
        ...


HINT = (
    ". To pay by channel: `bombyx channel open`, then http_client(channel=True) or `bombyx proxy`"
)


def hint(head: Head, body: bytes, sealed: Sealed) -> str:
    """What to do about a 402 of a request that no channel paid; empty for other answers."""
    if head.status != PAYMENT_REQUIRED or sealed.request.header.header.channel is not UNSET:
        return ""
    try:
        return "" if read_terms(body) is None else HINT
    except TermsRefused:
        return ""


def settled_after(deadline_s: int) -> int:
    """Seconds from `issued_at` until a gateway must have settled a request (SPEC 7.9)."""
    return SKEW_S + min(deadline_s, MAX_DEADLINE_S)


def post_paid(
    payer: Payer, request: ClearRequest, sealed: Sealed, post: Post, *, funder: Funder | None
) -> Generator[Effect, Reply, Head]:
    """Send a request that its channel pays; the head of the answer, which is no 402.

    Raises what `Payer.spend` and `Payer.refused` raise, and `GatewayError` for a 402 without terms.
    """
    c = sealed.request.c
    payer.began(c)
    yield from _ask(payer, request, payer.overdue(ASKED_AT_ONCE))
    yield from _spend(payer, request, sealed, funder)
    head = yield from _posted(payer, c, post)
    if head.status != PAYMENT_REQUIRED:
        return head
    terms, error = yield from _refusal(payer, c, head)
    if terms is None:
        raise error
    yield from _answer_refusal(payer, request, sealed, terms)
    for pause in PAUSES_S:
        yield Pause(pause)
        head = yield from _posted(payer, c, post, anyway=True)
        if head.status != PAYMENT_REQUIRED:
            return head
        terms, error = yield from _refusal(payer, c, head)
        if terms is None or not payer.is_settling(sealed, terms):
            break
    if terms is not None:
        payer.refused_again(sealed, terms)
    raise error


def is_turned_away(status: int) -> bool:
    """Whether an answer says that nothing is claimed: its request lapses at once (SPEC 7.9)."""
    return (status in _TURNED_AWAY and status not in _UNCERTAIN) or status == _UNAVAILABLE


def _posted(
    payer: Payer, c: bytes, post: Post, *, anyway: bool = False
) -> Generator[Effect, Reply, Head]:
    amount, voucher = payer.voucher(anyway=anyway)
    payer.leaves(c)
    try:
        head = yield from post(((HEADER, voucher),) if voucher else ())
    except NeverSent:
        payer.stayed(c)
        raise
    if head.status == _OK:
        # Other answers may come from before the gateway looked at the voucher.
        payer.taken(amount)
    if head.status == PAYMENT_REQUIRED:
        payer.turned_away(c)
    return head


def _refusal(
    payer: Payer, c: bytes, head: Head
) -> Generator[Effect, Reply, tuple[PaymentTerms | None, GatewayError]]:
    """The terms of a 402 and the gateway's own words; what has no terms ends the request."""
    body = yield from read_all(MAX_ERROR_BYTES)
    try:
        terms = read_terms(body)
    except TermsRefused:
        payer.give_up(c)
        raise
    if terms is None:
        payer.give_up(c)
    return terms, gateway_error(head, body)


def _spend(
    payer: Payer, request: ClearRequest, sealed: Sealed, funder: Funder | None
) -> Generator[Effect, Reply, None]:
    try:
        saving = payer.spend(sealed)
    except InflightCap:
        yield from _ask(payer, request, payer.strays(ASKED_AT_ONCE))
        saving = payer.spend(sealed)
    except DepositTooLow:
        if funder is None:
            raise
        yield from _until(funder.top_up(payer, int(sealed.request.header.header.max_cost_nano)))
        saving = payer.spend(sealed)
    yield from _until(saving)


def _answer_refusal(
    payer: Payer, request: ClearRequest, sealed: Sealed, terms: PaymentTerms
) -> Generator[Effect, Reply, None]:
    if terms.error == PaymentRequired.code:
        # It was never told of this channel, as when we were killed right after the deposit.
        yield from _introduce(payer, request, sealed)
        return
    try:
        saving = payer.refused(sealed, terms)
    except UnprovenCharges:
        yield from _ask(payer, request, payer.lapsed(ASKED_AT_ONCE))
        saving = payer.refused_after_receipts(sealed, terms)
    except DepositTooLow:
        # It may only have looked too early; to name the channel again makes it look again.
        yield from _introduce(payer, request, sealed)
        return
    yield from _until(saving)


def _introduce(
    payer: Payer, request: ClearRequest, sealed: Sealed
) -> Generator[Effect, Reply, None]:
    """Tell the gateway of the channel, which signs nothing that it could claim by."""
    if not (yield from _register(payer, request)):
        raise payer.unfunded(sealed.request.c)
    payer.introduced()
    yield from _until(payer.mark_corrected(sealed.request.c))


def _until(saving: Saving | None) -> Generator[Effect, Reply, None]:
    if saving is not None:
        yield Wait(saving.done)
        saving.result()


def _register(payer: Payer, request: ClearRequest) -> Generator[Effect, Reply, bool]:
    body = encode_registration(payer.store.record.registration)
    headers = (*own_headers(request), ("content-type", "application/json"))
    head = yield from send(Send("POST", f"{request.origin}/v1/channels", headers, body))
    yield from read_all(MAX_ERROR_BYTES)
    return head.status == _OK


def _ask(
    payer: Payer, request: ClearRequest, commitments: list[bytes]
) -> Generator[Effect, Reply, None]:
    """Ask for receipts; what does not come lapses when its time is over."""
    for c in commitments:
        url = f"{request.origin}/v1/receipts?c={c.hex()}"
        head = yield from send(Send("GET", url, own_headers(request)))
        body = yield from read_all(MAX_ERROR_BYTES)
        payer.late(c, receipt_in(body) if head.status == _OK else None)


class _Found(msgspec.Struct, frozen=True):
    receipt: msgspec.Raw | UnsetType = UNSET


def receipt_in(body: bytes) -> bytes | None:
    """The receipt in an answer of `GET /v1/receipts`, None where there is none."""
    found = _decoded(body, _Found)
    return None if found is None or isinstance(found.receipt, UnsetType) else bytes(found.receipt)


class _Refusal(msgspec.Struct, frozen=True):
    payment: msgspec.Raw | UnsetType = UNSET


def read_terms(body: bytes) -> PaymentTerms | None:
    """The terms of a 402, None where it has none; raises `TermsRefused` for what is no terms."""
    refusal = _decoded(body, _Refusal)
    if refusal is None or isinstance(refusal.payment, UnsetType):
        return None
    try:
        return decode_terms(bytes(refusal.payment))
    except NotCanonical as error:
        raise TermsRefused(f"the gateway's terms cannot be read: {error.message}") from None


def _decoded(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
