"""What a session asks of its shell, and what it gets back (SPEC 14).

A session's exchange is a generator of these effects: it decides, the shell does. So one session
serves httpx2 and httpx, sync and async, and the sidecar.
"""

from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from bombyx.errors import BadAnswer

Headers = tuple[tuple[str, str], ...]
"""Lower-case names."""
_API_KEY = "x-api-key"


@dataclass(frozen=True, slots=True, repr=False)
class ClearRequest:
    """What an SDK asked for, in clear; `origin` is scheme, host and prefix before the path."""

    method: str
    origin: str
    path: str
    query: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, empty when absent."""
        return find(self.headers, name)


def with_bearer(headers: Headers) -> Headers:
    """The headers with their key as a bearer, and not as Anthropic's `x-api-key`."""
    key = find(headers, _API_KEY)
    kept = tuple(pair for pair in headers if pair[0] != _API_KEY)
    if key and not find(headers, "authorization"):
        kept += (("authorization", f"Bearer {key}"),)
    return kept


@dataclass(frozen=True, slots=True, repr=False)
class Send:
    """Send this and answer with a `Head`; an earlier response is closed first."""

    method: str
    url: str
    headers: Headers
    body: bytes = b""


class NeverSent(Exception):
    """Raised by an upstream in place of `reason` where not one byte of a request has left.

    Only where that is certain, as when nobody could be connected to: what may have arrived may be
    run and billed. The exchange hears of it, its caller gets `reason`.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(f"nothing was sent ({type(reason).__name__})")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Read:
    """Answer with the next bytes of the response as they came; none at its end or break."""


@dataclass(frozen=True, slots=True, repr=False)
class Wait:
    """Answer with None once `event` is done: another exchange is about to find what we need."""

    event: "Future[None]"


@dataclass(frozen=True, slots=True)
class Pause:
    """Answer with None after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Begin:
    """Start the answer to the SDK."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True, repr=False)
class Emit:
    """Hand bytes of the answer's body to the SDK."""

    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """Status and headers of a response."""

    status: int
    headers: Headers

    def header(self, name: str) -> str:
        """The value of a header, empty when absent."""
        return find(self.headers, name)

    @property
    def media_type(self) -> str:
        """The content type without parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()


Effect = Send | Read | Wait | Pause | Begin | Emit
Reply = Head | bytes | None
Steps = Generator[Effect, Reply, None]
"""An exchange: one `Begin`, then `Emit`s; any number of `Send`, `Read` and `Wait` between."""


def find(headers: Sequence[tuple[str, str]], name: str) -> str:
    """The first value of a header, empty when absent."""
    return next((value for key, value in headers if key == name), "")


def send(request: Send) -> Generator[Effect, Reply, Head]:
    """Send and get the head."""
    reply = yield request
    if not isinstance(reply, Head):
        raise TypeError("a Send is answered with a Head")
    return reply


def read() -> Generator[Effect, Reply, bytes]:
    """The next bytes, none at the end."""
    reply = yield Read()
    if not isinstance(reply, bytes):
        raise TypeError("a Read is answered with bytes")
    return reply


def read_all(limit: int) -> Generator[Effect, Reply, bytes]:
    """The whole body; raises `BadAnswer` beyond `limit` bytes."""
    pieces, size = [], 0
    while piece := (yield from read()):
        size += len(piece)
        if size > limit:
            raise BadAnswer(f"the gateway's answer is longer than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)
