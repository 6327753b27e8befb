"""What a gateway says instead of an answer (SPEC 4, 14.3): diagnostics, and sometimes proof.

Whatever is not sealed is the gateway's word alone. It is shown as an error, never as an answer,
and only a worker's signature over our own request makes it a reason to seal anew.
"""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bombyx.client.effects import Begin, Emit, Head, Headers
from bombyx.client.receipts import Sealed
from bombyx.errors import (
    BadAnswer,
    BadSignature,
    BombyxError,
    ClockAhead,
    UnprovenRefusal,
    envelope,
)
from bombyx.link.documents import SignedRefusal
from bombyx.signing import Kind, verify

MAX_ERROR_BYTES = 256 * 2**10
PROBLEM_TYPE = "application/problem+json"
_MAX_TEXT = 2048
_PASSED_ON = re.compile(
    r"retry-after|retry-after-ms|x-should-retry|x-request-id|x-ratelimit-[a-z-]+"
)
_PROVES_NOTHING = "clock_ahead"
"""A worker that finds a request too early may yet run it later."""


class Problem(msgspec.Struct, frozen=True):
    """What matters of a problem document; other members are the gateway's business."""

    code: str = ""
    refusals: Annotated[list[SignedRefusal], Meta(max_length=8)] = []


class GatewayError(Exception):
    """Raised with a gateway's own error answer, to be passed on to the SDK."""

    def __init__(self, begin: Begin, emit: Emit) -> None:
        super().__init__(f"the gateway answered {begin.status}")
        self.begin = begin
        self.emit = emit


def read_problem(head: Head, body: bytes) -> Problem:
    """The problem document; an empty one for any other body. Raises `UnprovenRefusal`."""
    if head.media_type != PROBLEM_TYPE:
        return Problem()
    try:
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UnprovenRefusal("the gateway's refusal cannot be read") from None


RENEWABLE = frozenset({"no_candidate", "wrong_fee"})
"""Codes of a 422 after which a request may be sealed anew, if its refusals hold."""


def check_refusals(problem: Problem, sealed: Sealed) -> None:
    """Each refusal is a candidate's word about exactly our request; raises `UnprovenRefusal`.

    The header's hash is compared too: an altered header draws genuine refusals that name our
    commitment.
    """
    for signed in problem.refusals:
        _check(signed, sealed)
        if signed.refusal.code == _PROVES_NOTHING:
            raise ClockAhead("a worker's clock is behind ours; it may still run the request later")


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


def gateway_error(head: Head, body: bytes) -> GatewayError:
    """A non-2xx answer, in OpenAI's shape whatever it was; raises `BadAnswer` for other answers."""
    if head.status < 400:  # noqa: PLR2004  (HTTP's own boundary)
        # A redirect must not reach the SDK's client either: it would follow it.
        raise BadAnswer(f"the gateway answered {head.status} where a sealed answer was due")
    error = _openai_error(body) or {
        "message": f"the gateway answered {head.status}",
        "type": "upstream_error",
        "code": "upstream_failed",
        "param": None,
    }
    kept = tuple(pair for pair in head.headers if _PASSED_ON.fullmatch(pair[0]))
    return GatewayError(*whole(head.status, msgspec.json.encode({"error": error}), kept))


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


def local_error(error: BombyxError, headers: Headers = ()) -> tuple[Begin, Emit]:
    """An error of our own as an HTTP answer."""
    extra: Headers = headers
    if error.should_retry is not None:
        extra += (("x-should-retry", "true" if error.should_retry else "false"),)
    return whole(error.status, msgspec.json.encode(envelope(error)), extra)


def whole(status: int, body: bytes, headers: Headers = ()) -> tuple[Begin, Emit]:
    """A whole JSON answer."""
    own = (("content-type", "application/json"), ("content-length", str(len(body))))
    return Begin(status, own + headers), Emit(body)
