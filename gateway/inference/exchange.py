"""One request to a hot path and its answer, straight on uvicorn's HTTP/1.1 protocol (ADR 7).

ASGI hands every piece of an answer through a dictionary, a coroutine and a table of headers; for
one streamed token that cost more than all the rest of the gateway. Parsing, pipelining, keep-alive
and shutdown stay uvicorn's: it treats an exchange as one of its own request cycles.
"""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Protocol, TypeAlias

import structlog

from bombyx.errors import Overloaded, RequestTimeout, TooLarge
from gateway.metering.rations import Entry, Ration

BODY_TIMEOUT_SECONDS = 60.0
"""How long a body may take in all: slow writers hold memory."""
_UNSAFE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}

HeaderPairs: TypeAlias = "list[tuple[bytes, bytes]]"
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


class Flow(Protocol):
    """Back-pressure of one connection, as uvicorn keeps it."""

    write_paused: bool

    def resume_reading(self) -> None:
        """Let more of the request come."""


def new_request_id() -> bytes:
    """The name of one HTTP exchange."""
    return b"req_" + os.urandom(12).hex().encode()


class Exchange:
    """Read the request, then `begin`, `write` and `end` the answer.

    Writing never blocks: whoever has much to say looks at `is_full` before, and goes on when
    `on_room` is called.
    """

    __slots__ = (
        "_chunked",
        "_common",
        "_expects_continue",
        "_flow",
        "_head",
        "_on_end",
        "_on_gone",
        "_reader",
        "_since",
        "_transport",
        "body",
        "disconnected",
        "entry",
        "extra",
        "headers",
        "keep_alive",
        "key",
        "more_body",
        "on_room",
        "path",
        "ration",
        "request_id",
        "response_complete",
    )

    def __init__(
        self,
        path: str,
        headers: HeaderPairs,
        *,
        transport: asyncio.Transport,
        flow: Flow,
        expects_continue: bool,
        keep_alive: bool,
        on_end: Callable[[], None],
        common: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """`common` are headers of every answer of the server: the date, as of this second."""
        self.path = path
        self.headers = headers
        self.request_id = new_request_id()
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self.keep_alive = keep_alive
        self.on_room: Callable[[], None] = _nothing
        self.key = ""
        """Id of the API key that asks."""
        self.entry: Entry | None = None
        self.ration: Ration | None = None
        """Of a key that has limits."""
        self.extra = b""
        """Header lines that every answer has, each with its end."""
        self._since = time.monotonic()
        self._transport = transport
        self._common = common
        self._flow = flow
        self._expects_continue = expects_continue
        self._on_end = on_end
        self._on_gone: Callable[[], None] = _nothing
        self._reader: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = False

    # --- What uvicorn's protocol calls ---

    @property
    def message_event(self) -> "Exchange":
        """Where uvicorn announces a piece of body, its end, or that the client is gone."""
        return self

    def set(self) -> None:
        """Something of that happened."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self.disconnected:
            on_gone, self._on_gone = self._on_gone, _nothing
            on_gone()

    async def run_asgi(self, handler: "Callable[[Exchange], Awaitable[None]]") -> None:
        """Serve it; a handler that breaks off breaks the connection off."""
        try:
            await handler(self)
        except Exception as error:  # noqa: BLE001 - a boundary: the answer has begun
            _log.error("unforeseen", kind=type(error).__name__, request_id=self.request_id.decode())
        finally:
            if not (self.response_complete or self.disconnected):
                self._transport.close()
            self._on_end = self._on_gone = self.on_room = _nothing  # they hold what holds this

    # --- The request ---

    def header(self, name: bytes) -> bytes:
        """The value of a request header (lower-case name), empty when absent."""
        return header_of(self.headers, name)

    async def read(self, *, limit: int, budget: Budget) -> bytes:
        """The whole body; raises `TooLarge`, `RequestTimeout`, `Overloaded` or `ClientGone`.

        What was taken from the budget stays taken: the caller gives `len(body)` back at the end.
        """
        if self.more_body:
            return await self._read_slowly(limit, budget)
        if self.disconnected:
            raise ClientGone
        body, self.body = bytes(self.body), bytearray()
        _check_size(len(body), limit)
        budget.take(len(body))
        return body

    async def _read_slowly(self, limit: int, budget: Budget) -> bytes:
        _check_size(int(self.header(b"content-length") or 0), limit)
        parts = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                while True:
                    part, self.body = self.body, bytearray()
                    _check_size(len(parts) + len(part), limit)
                    budget.take(len(part))
                    parts += part
                    if not self.more_body:
                        return bytes(parts)
                    await self._news()
        except TimeoutError:
            budget.give(len(parts))
            raise RequestTimeout("the request's body took longer than 60 s") from None
        except BaseException:
            budget.give(len(parts))
            raise

    async def _news(self) -> None:
        """Wait for more of the request; raises `ClientGone`."""
        if self._expects_continue:
            self._expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.disconnected:
            self._reader = asyncio.get_running_loop().create_future()
            self._flow.resume_reading()
            await self._reader
            self._reader = None
        if self.disconnected:
            raise ClientGone

    # --- The answer ---

    @property
    def begun(self) -> bool:
        """Whether a status was chosen: no other can be sent."""
        return bool(self._head)

    @property
    def is_full(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self._flow.write_paused

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call this once when the client hangs up, at once if it has."""
        if self.disconnected:
            on_gone()
        else:
            self._on_gone = on_gone

    def begin(self, status: int, headers: HeaderPairs) -> None:
        """Choose status and headers; they leave with the first piece of the answer.

        Raises `ValueError` for a header that would break the format.
        """
        named = (*headers, *self._common, (b"x-request-id", self.request_id))
        if not self.keep_alive or self.more_body:
            named = (*named, (b"connection", b"close"))
        if _UNSAFE.search(b"".join([value for _, value in named])):
            raise ValueError("a header's value holds what no header may hold")
        lines = [name + b": " + value + b"\r\n" for name, value in named]
        took = b"openai-processing-ms: %d\r\n" % (1000 * (time.monotonic() - self._since))
        told = self.ration.headers() if self.ration is not None else b""
        self._head = b"".join([_STATUS_LINES[status], *lines, self.extra, took, told])

    def write(self, data: bytes) -> None:
        """One piece of an answer that goes on; never empty."""
        if self.disconnected:
            return
        chunk = b"%x\r\n%b\r\n" % (len(data), data)
        if not self._chunked:
            self._chunked = True
            chunk = b"%btransfer-encoding: chunked\r\n\r\n%b" % (self._head, chunk)
        self._transport.write(chunk)

    def end(self, data: bytes) -> None:
        """The last piece, or the whole answer at once."""
        if self.disconnected or self.response_complete:
            return
        if not self._chunked:
            data = b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(data), data)
        elif data:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        else:
            data = b"0\r\n\r\n"
        self._transport.write(data)
        self.response_complete = True
        if not self.keep_alive:
            self._transport.close()
        self._on_end()


def header_of(headers: HeaderPairs, name: bytes) -> bytes:
    """The value of a header (lower-case name), empty when absent."""
    for key, value in headers:
        if key == name:
            return value
    return b""


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"a request holds at most {limit} bytes")


def _nothing() -> None:
    """Nobody waits for it."""
