"""What requests say in their headers, and errors in the shape that SDKs read."""

import msgspec
import structlog

from bombyx.chat.paths import is_anthropic
from bombyx.chat.refusing import refusal_document
from bombyx.errors import BombyxError, Draining, RequestError, Unauthenticated
from bombyx.link.documents import SignedLost, SignedRefusal
from gateway.inference.exchange import Exchange, HeaderPairs, header_of

MAX_KEY_BYTES = 256
ANTHROPIC_NAME = b"request-id"
"""Where Anthropic's SDKs look for what OpenAI's find as `x-request-id`."""
RETRY_AFTER_MS = 1000

_log = structlog.get_logger(__name__)


def not_taken() -> Draining:
    """What ends a request that came, or waited, while this process stops: nothing is claimed."""
    error = Draining("this gateway is stopping: try again", retry_after_ms=RETRY_AFTER_MS)
    error.unclaimed = True
    return error


def media_type(headers: HeaderPairs) -> bytes:
    """The content type, lower-case and without parameters."""
    return header_of(headers, b"content-type").partition(b";")[0].strip().lower()


def bearer(headers: HeaderPairs) -> str:
    """The API key of a request, as a bearer or as Anthropic's SDKs send it.

    Raises `Unauthenticated`.
    """
    value = header_of(headers, b"authorization")
    if not value and (key := header_of(headers, b"x-api-key")):
        value = b"bearer " + key
    if not value[:7].lower() == b"bearer " or len(value) > MAX_KEY_BYTES:
        raise Unauthenticated("send your API key as `Authorization: Bearer KEY`")
    return value[7:].strip().decode("latin-1")


def request_names(path: str, name: bytes) -> list[tuple[bytes, bytes]]:
    """The headers in which SDKs of the path look for a request's name."""
    names = [(b"x-request-id", name)]
    return [*names, (ANTHROPIC_NAME, name)] if is_anthropic(path) else names


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


def error_answer(
    error: BombyxError, *, path: str = "", request_id: bytes = b""
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body: the path's error envelope; refusals also as problem+json (RFC 9457)."""
    document = refusal_document(path, error, request_id=request_id.decode() or None)
    content_type = b"application/json"
    refusals = getattr(error, "refusals", None)
    if refusals is not None:
        content_type = b"application/problem+json"
        # Where Anthropic's envelope has a type already, that one stands: SDKs read it.
        document = {
            "type": f"urn:bombyx:error:{error.code}",
            **document,
            "title": "the request was not run",
            "status": error.status,
            "detail": error.message,
            "code": error.code,
            "refusals": refusals,
        }
    lost = getattr(error, "lost", None)
    if lost is not None:
        document["lost"] = lost
    receipt = getattr(error, "receipt", None)
    if receipt is not None:
        document["receipt"] = msgspec.Raw(receipt)
    payment = getattr(error, "payment", None)
    if payment is not None:
        document["payment"] = msgspec.Raw(payment)
    headers = [(b"content-type", content_type), *error_headers(error)]
    return headers, msgspec.json.encode(document)


def respond_error(exchange: Exchange, error: BombyxError) -> None:
    """The error as a whole answer."""
    headers, body = error_answer(error, path=exchange.path, request_id=exchange.request_id)
    exchange.begin(error.status, headers)
    exchange.end(body)


def respond_unforeseen(exchange: Exchange, error: Exception) -> None:
    """The envelope for a bug; where an answer has begun, the exchange breaks it off."""
    _log.error("unforeseen", kind=type(error).__name__, request_id=exchange.request_id.decode())
    if not exchange.begun:
        respond_error(exchange, BombyxError("something went wrong here; it was logged"))


class NotRun(RequestError):
    """Raised when no worker runs a request; carries what proves it.

    That are signed refusals and, where the client may seal anew, our note that nothing is billed.
    """

    status = 422
    code = "not_run"

    def __init__(
        self,
        message: str,
        *,
        refusals: list[SignedRefusal],
        code: str,
        status: int,
        lost: SignedLost | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.refusals = refusals
        self.lost = lost
        self.code = code  # type: ignore[misc]  # the refusal's code, not the class's
        self.status = status  # type: ignore[misc]
