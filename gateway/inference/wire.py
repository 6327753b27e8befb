"""ASGI by hand, for the paths where a framework would cost more than the work (DESIGN 11)."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec
import structlog

from bombyx.errors import (
    BombyxError,
    Overloaded,
    RequestError,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    envelope,
)

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
HeaderPairs: TypeAlias = Iterable[tuple[bytes, bytes]]

BODY_TIMEOUT_SECONDS = 60.0
"""How long a body may take in all: slow writers hold memory."""
MAX_KEY_BYTES = 256

_log = structlog.get_logger(__name__)


class ClientGone(Exception):
    """Raised when the client closed its connection."""


class Budget:
    """Bytes of request bodies held at once, over all requests."""

    __slots__ = ("_free",)

    def __init__(self, total: int) -> None:
        self._free = total

    def take(self, count: int) -> None:
        """Raises `Overloaded` when nothing is left."""
        if count > self._free:
            raise Overloaded("too many large requests at once: try again", retry_after_ms=1000)
        self._free -= count

    def give(self, count: int) -> None:
        """Put back what was taken."""
        self._free += count


def new_request_id() -> bytes:
    """The name of one HTTP exchange."""
    return b"req_" + os.urandom(12).hex().encode()


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a request header (lower-case name), empty when absent."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def media_type(scope: Scope) -> bytes:
    """The content type, lower-case and without parameters."""
    return header(scope, b"content-type").partition(b";")[0].strip().lower()


def bearer(scope: Scope) -> str:
    """The API key of a request; raises `Unauthenticated`."""
    value = header(scope, b"authorization")
    if not value[:7].lower() == b"bearer " or len(value) > MAX_KEY_BYTES:
        raise Unauthenticated("send your API key as `Authorization: Bearer KEY`")
    return value[7:].strip().decode("latin-1")


async def read_body(receive: Receive, *, limit: int, budget: Budget) -> bytes:
    """The whole body; raises `TooLarge`, `RequestTimeout`, `Overloaded` or `ClientGone`.

    What was taken from the budget stays taken: the caller gives `len(body)` back at the end.
    """
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body = bytes(message.get("body", b""))
        _check_size(len(body), limit)
        budget.take(len(body))
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            while True:
                part = _part(message)
                _check_size(size + len(part), limit)
                budget.take(len(part))
                size += len(part)
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
                message = await receive()
    except TimeoutError:
        budget.give(size)
        raise RequestTimeout("the request's body took longer than 60 s") from None
    except BaseException:
        budget.give(size)
        raise


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return bytes(message.get("body", b""))


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"a request holds at most {limit} bytes")


async def respond(
    send: Send, status: int, body: bytes, *, content_type: bytes, headers: HeaderPairs = ()
) -> None:
    """A whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def error_headers(error: BombyxError) -> list[tuple[bytes, bytes]]:
    """What OpenAI's SDKs read to decide on a retry."""
    out: list[tuple[bytes, bytes]] = []
    if error.should_retry is not None:
        out.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if error.retry_after_ms is not None:
        out.append((b"retry-after-ms", b"%d" % error.retry_after_ms))
        out.append((b"retry-after", b"%d" % -(-error.retry_after_ms // 1000)))
    if isinstance(error, Unauthenticated):
        out.append((b"www-authenticate", b"Bearer"))
    return out


async def respond_error(send: Send, error: BombyxError, *, request_id: bytes) -> None:
    """OpenAI's error envelope; refusals also as problem+json (RFC 9457)."""
    document: dict[str, Any] = {**envelope(error)}
    content_type = b"application/json"
    refusals = getattr(error, "refusals", None)
    if refusals is None and error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        refusals = []  # nothing was dispatched: the client may seal anew (SPEC 14.3)
    if refusals is not None:
        content_type = b"application/problem+json"
        document |= {
            "type": f"urn:bombyx:error:{error.code}",
            "title": "the request was not run",
            "status": error.status,
            "detail": error.message,
            "code": error.code,
            "refusals": refusals,
        }
    receipt = getattr(error, "receipt", None)
    if receipt is not None:
        document["receipt"] = msgspec.Raw(receipt)
    await respond(
        send,
        error.status,
        msgspec.json.encode(document),
        content_type=content_type,
        headers=[(b"x-request-id", request_id), *error_headers(error)],
    )


async def respond_unforeseen(send: Send, error: Exception, *, request_id: bytes) -> None:
    """The envelope for a bug; where an answer has begun, the server breaks it off."""
    _log.error("unforeseen", kind=type(error).__name__, request_id=request_id.decode())
    try:
        mild = BombyxError("something went wrong here; it was logged")
        await respond_error(send, mild, request_id=request_id)
    except RuntimeError:
        raise error from None


class NotRun(RequestError):
    """Raised when no worker runs a request; carries the signed refusals that prove it."""

    status = 422
    code = "not_run"

    def __init__(self, message: str, *, refusals: list[Any], code: str, status: int) -> None:
        super().__init__(message)
        self.refusals = refusals
        self.code = code  # type: ignore[misc]  # the refusal's code, not the class's
        self.status = status  # type: ignore[misc]
