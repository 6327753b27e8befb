"""What a gateway says instead of an answer (SPEC 4, 14.3): diagnostics, and sometimes proof.

Whatever is not sealed is the gateway's word alone. It is shown as an error, never as an answer.
Only signatures over our own request are a reason to seal anew: those of all its workers, that they
do not run it, or the gateway's, that it is never billed.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bombyx.chat.paths import is_anthropic
from bombyx.chat.refusing import refusal_document, refusal_of
from bombyx.client.effects import Begin, Emit, Head, Headers, find
from bombyx.client.receipts import Sealed
from bombyx.errors import (
    BadAnswer,
    BadSignature,
    BombyxError,
    ClockAhead,
    Draining,
    Overloaded,
    Unpaid,
    UnprovenRefusal,
    WorkerBusy,
)
from bombyx.link.documents import SignedLost, SignedRefusal
from bombyx.signing import Kind, verify

MAX_ERROR_BYTES = 256 * 2**10
PROBLEM_TYPE = "application/problem+json"
_MAX_TEXT = 2048
_PASSED_ON = re.compile(
    r"retry-after|retry-after-ms|x-should-retry|x-request-id|request-id|x-ratelimit-[a-z-]+"
    r"|openai-processing-ms|openai-version"
)
"""Headers that SDKs read, and that say nothing of an answer's content."""
RETRY_AFTER_MS = 1000
"""As long as a gateway leaves a worker alone that said it was full."""
_FULL = frozenset(one.code for one in (Draining, Overloaded, Unpaid, WorkerBusy))
_PROVES_NOTHING = "clock_ahead"
"""A worker that finds a request too early may yet run it later."""


class Problem(msgspec.Struct, frozen=True):
    """What matters of a problem document; other members are the gateway's business."""

    code: str = ""
    refusals: Annotated[list[SignedRefusal], Meta(max_length=8)] = []
    lost: SignedLost | UnsetType = UNSET


class GatewayError(Exception):
    """Raised with a gateway's own error answer, to be passed on to the SDK."""

    def __init__(self, status: int, told: Mapping[str, Any], headers: Headers) -> None:
        super().__init__(f"the gateway answered {status}")
        self.status = status
        self._told = told
        self._headers = headers

    def answer(self, path: str) -> tuple[Begin, Emit]:
        """The answer in the shape of the path that was asked for."""
        name = find(self._headers, "x-request-id") or None
        document = refusal_of(path, self.status, self._told, request_id=name)
        headers = self._headers
        if name and is_anthropic(path) and not find(headers, "request-id"):
            # The refusal may be of another request than the SDK's own: for the directory.
            headers += (("request-id", name),)
        return whole(self.status, msgspec.json.encode(document), headers)


def read_problem(head: Head, body: bytes) -> Problem:
    """The problem document; an empty one for any other body. Raises `UnprovenRefusal`."""
    if head.media_type != PROBLEM_TYPE:
        return Problem()
    try:
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UnprovenRefusal("the gateway's refusal cannot be read") from None


RENEWABLE = frozenset({"no_candidate", "wrong_fee"})
"""Codes of a 422 after which a request may be sealed anew, if its proof holds."""


def check_proofs(problem: Problem, sealed: Sealed) -> None:
    """Refusals and note are their signers' word about our request; raises `UnprovenRefusal`.

    Of a refusal the header's hash is compared too: an altered header draws genuine refusals that
    name our commitment.
    """
    for signed in problem.refusals:
        _check(signed, sealed)
        if signed.refusal.code == _PROVES_NOTHING:
            raise ClockAhead("a worker's clock is behind ours; it may still run the request later")
    if not isinstance(problem.lost, UnsetType):
        _check_note(problem.lost, sealed)


def check_renewable(problem: Problem, sealed: Sealed) -> None:
    """What was proved makes it safe to seal anew; raises `UnprovenRefusal`.

    Safe it is on the gateway's note, which convicts it beside a bill for the same commitment, or
    where not one worker is left that may have run the request.
    """
    refused = {signed.refusal.worker for signed in problem.refusals}
    if isinstance(problem.lost, UnsetType) and not refused >= sealed.chosen.keys():
        raise UnprovenRefusal("the gateway shows no proof that the request is not billed")


def crowded(problem: Problem) -> Overloaded | None:
    """What the SDK is told where workers refused, and each only for want of room: to wait.

    Other reasons do not go away by waiting. For requests that were proved not to be billed.
    """
    if not problem.refusals or any(one.refusal.code not in _FULL for one in problem.refusals):
        return None
    return Overloaded("every chosen worker is busy: try again", retry_after_ms=RETRY_AFTER_MS)


def _check_note(signed: SignedLost, sealed: Sealed) -> None:
    note, gateway = signed.lost, sealed.request.header.header.gateway
    if (note.gateway, note.c) != (gateway, sealed.request.c.hex()):
        raise UnprovenRefusal("the gateway's note is of another request")
    try:
        verify(Kind.LOST, note, bytes.fromhex(signed.signature), bytes.fromhex(gateway))
    except BadSignature:
        raise UnprovenRefusal("the gateway's note is not signed by the gateway") from None


def _check(signed: SignedRefusal, sealed: Sealed) -> None:
    refusal, request = signed.refusal, sealed.request
    chosen = sealed.chosen.get(refusal.worker)
    if chosen is None:
        raise UnprovenRefusal("a refusal is by a worker that was not asked")
    try:
        key = bytes.fromhex(chosen.worker.keyset.receipt_key)
        verify(Kind.REFUSAL, refusal, bytes.fromhex(signed.signature), key)
    except BadSignature:
        raise UnprovenRefusal("a refusal is not signed by the worker that it names") from None
    ours = (request.c.hex(), request.header.h.hex(), request.header.header.gateway)
    if (refusal.c, refusal.h, refusal.gateway) != ours:
        raise UnprovenRefusal("a refusal is of another request")


def gateway_error(head: Head, body: bytes, *, hint: str = "") -> GatewayError:
    """A non-2xx answer, in SDKs' shape whatever it was; raises `BadAnswer` for other answers.

    `hint` is our own word, behind the gateway's.
    """
    if head.status < 400:  # noqa: PLR2004  (HTTP's own boundary)
        # A redirect must not reach the SDK's client either: it would follow it.
        raise BadAnswer(f"the gateway answered {head.status} where a sealed answer was due")
    error = _openai_error(body) or {
        "message": f"the gateway answered {head.status}",
        "type": "upstream_error",
        "code": "upstream_failed",
        "param": None,
    }
    error["message"] = f"{error['message']}{hint}"
    return GatewayError(head.status, error, passed_on(head))


def passed_on(head: Head) -> Headers:
    """Of a gateway's headers those that go on to the SDK: its word, and shown as such."""
    return tuple(pair for pair in head.headers if _PASSED_ON.fullmatch(pair[0]))


def _openai_error(body: bytes) -> dict[str, str | None] | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    return {name: _text(error.get(name)) for name in ("message", "type", "code", "param")}


def _text(value: Any) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) else None


def local_error(error: BombyxError, path: str) -> tuple[Begin, Emit]:
    """An error of our own as an HTTP answer to a request of this path."""
    extra: Headers = ()
    if error.should_retry is not None:
        extra += (("x-should-retry", "true" if error.should_retry else "false"),)
    if error.retry_after_ms is not None:
        extra += (("retry-after-ms", str(error.retry_after_ms)),)
        extra += (("retry-after", str(-(-error.retry_after_ms // 1000))),)
    return whole(error.status, msgspec.json.encode(refusal_document(path, error)), extra)


def whole(status: int, body: bytes, headers: Headers = ()) -> tuple[Begin, Emit]:
    """A whole JSON answer."""
    own = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Begin(status, own + headers), Emit(body)
