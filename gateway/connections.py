"""HTTP connections that say nothing, say it too slowly or too long, or do not listen (SPEC 18).

Uvicorn has no limit on connections, heads or pipelined requests, and no clock but for keep-alive.
The clock here is one look a second at all connections, so that requests pay nothing for it.
"""

import asyncio
import contextlib
import resource
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bombyx.chat.refusing import refusal_document
from bombyx.errors import (
    BombyxError,
    HeadTooLarge,
    Overloaded,
    RequestError,
    RequestTimeout,
)
from gateway.inference.exchange import Exchange, header_of, new_request_id
from gateway.inference.wire import error_headers, request_names, respond_error

LOOK_SECONDS = 1.0
LINGER_SECONDS = 2.0
"""For a client that still sends when it is refused: closing at once could cost it our words."""
READ_BYTES = 2**16
MAX_HEAD_BYTES = 2 * READ_BYTES
"""Request line and headers, counted in whole reads: half as many always pass."""
MAX_HEADERS = 128
MAX_PIPELINED = 16
"""Requests sent ahead on one connection, which no SDK does: each holds memory before any key."""
RETRY_AFTER_MS = 1000
OTHER_DESCRIPTORS = 256
"""For the database, logs and what else a process opens."""

Cycle: TypeAlias = Any
"""Uvicorn's `RequestResponseCycle`, or what looks like one to it: an `Exchange`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of one process; times in seconds."""

    connections: int
    head: float
    """How long a request's head may take, and a new connection be silent."""
    stalled: float
    """How long a client may take none of the bytes that wait for it."""


class Door:
    """All connections of one server; looks at them every second while there are any."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._inside: set[GuardedProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: "GuardedProtocol") -> bool:
        """Whether there is room for one more."""
        if len(self._inside) >= self.patience.connections:
            return False
        self._inside.add(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(LOOK_SECONDS, self._look, connection.loop)
        return True

    def leave(self, connection: "GuardedProtocol") -> None:
        """It is closed, or a WebSocket now."""
        self._inside.discard(connection)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        again = bool(self._inside)
        self._timer = loop.call_later(LOOK_SECONDS, self._look, loop) if again else None
        for connection in list(self._inside):
            connection.look(self.patience)


class _Trailers(list[tuple[bytes, bytes]]):
    """Where header lines after a body go: nowhere, since they must not pass for headers."""

    def append(self, _line: tuple[bytes, bytes]) -> None:
        """Nobody reads it."""


_TRAILERS = _Trailers()


class GuardedProtocol(HttpToolsProtocol):
    """One connection; its class knows the `door`."""

    door: Door

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.url = b""  # uvicorn has none before a request begins
        self.running: Cycle = None
        """The request that is answered now; uvicorn's `cycle` is the latest one sent."""
        self._unparsed = 0
        """Bytes since the parser made something of them: head, or piece of a body."""
        self._seen: Cycle = None
        self._unsent = 0
        self._waited = self._stalled = 0.0
        self._is_refused = False

    # --- What uvicorn and the event loop call ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new client, who is told where there is no room."""
        super().connection_made(transport)
        if not self.door.enter(self):
            full = Overloaded("too many connections: try again", retry_after_ms=RETRY_AFTER_MS)
            transport.write(_answer(full))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is answered, too, where it is not the latest."""
        self.door.leave(self)
        super().connection_lost(exc)
        running = self.running
        if running is not None and running is not self.cycle:
            running.disconnected = running.disconnected or not running.response_complete
            running.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser while what it holds is bounded."""
        for at in range(0, len(data), READ_BYTES):
            part = data[at : at + READ_BYTES]
            if self._is_over():
                return
            self._unparsed += len(part)
            super().data_received(part)
            if self._unparsed > MAX_HEAD_BYTES or len(self.headers or ()) > MAX_HEADERS:
                self.refuse(_too_long())

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._unparsed = 0
        super().on_body(body)

    def head_is_over(self) -> bool:
        """Whether the request may be served; called once all of its headers are there."""
        self._unparsed = 0
        if len(self.headers) > MAX_HEADERS:
            self.refuse(_too_long())
        elif len(self.pipeline) >= MAX_PIPELINED:
            self._refuse_in_turn()
        elif not self.parser.should_upgrade():
            self.headers = _TRAILERS
        return not self._is_over()

    def handle_websocket_upgrade(self) -> None:
        """It is a link of a worker from now on, if anything."""
        self.door.leave(self)
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """The answer is out, perhaps before the request was in."""
        running = self.running
        super().on_response_complete()
        if running.more_body and not self._is_over() and _sends_much(running):
            self._linger()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused in our shape too; nobody can say by whom it came."""
        self.refuse(RequestError(msg.rstrip(".").lower()))

    def _start_asgi_task(self, cycle: Cycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    # --- Refusing ---

    def refuse(self, error: BombyxError) -> None:
        """Say why, and close; within another answer nothing can be said."""
        running = self.running
        if self._is_over():
            return
        if running is not None and not running.response_complete:
            if running is not self.cycle or _has_begun(running):
                self.transport.abort()
                return
            running.disconnected = True
            running.message_event.set()
        self.transport.write(_answer(error, self.url.partition(b"?")[0]))
        self._linger()

    def _refuse_in_turn(self) -> None:
        """Too many requests were sent ahead: those before are answered, then this one, no more."""
        last = Exchange(
            "",
            self.headers,
            transport=self.transport,
            flow=self.flow,
            expects_continue=False,
            keep_alive=False,
            on_end=self.on_response_complete,
        )
        self._is_refused = True
        self.cycle = cast(Any, last)
        self.pipeline.appendleft((self.cycle, cast(Any, _refuse_ahead)))

    def _is_over(self) -> bool:
        """Whether nothing more is read: after a refusal the parser still has the rest of a part."""
        return self._is_refused or self.transport.is_closing()

    def _linger(self) -> None:
        self._is_refused = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        _Linger(self)

    # --- The clock ---

    def look(self, patience: Patience) -> None:
        """Called every second."""
        if self._does_not_listen(patience.stalled):
            self.transport.abort()
        elif self._does_not_ask(patience.head):
            if self._unparsed:
                self.refuse(RequestTimeout("the head of the request came too slowly"))
            else:
                self.transport.close()

    def _does_not_listen(self, limit: float) -> bool:
        """Whether bytes wait to be sent, and none of them went for so long."""
        unsent = self.transport.get_write_buffer_size()
        self._stalled = self._stalled + LOOK_SECONDS if unsent >= self._unsent > 0 else 0.0
        self._unsent = unsent
        return self._stalled >= limit

    def _does_not_ask(self, limit: float) -> bool:
        """Whether nothing is answered, and uvicorn's timer for keep-alive does not run."""
        cycle = self.cycle
        served = cycle is not None and not cycle.response_complete
        quiet = not served and self.timeout_keep_alive_task is None and cycle is self._seen
        self._waited = self._waited + LOOK_SECONDS if quiet else 0.0
        self._seen = cycle
        return self._waited >= limit


class _Linger(asyncio.Protocol):
    """Throws away what a refused client still sends, until it has had time to read our words."""

    def __init__(self, connection: GuardedProtocol) -> None:
        self._connection = connection
        transport = connection.transport
        self._timer = connection.loop.call_later(LINGER_SECONDS, transport.abort)
        transport.set_protocol(self)
        if transport.can_write_eof():
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """Nobody reads it."""

    def connection_lost(self, exc: Exception | None) -> None:
        """For all who keep book of connections."""
        self._timer.cancel()
        self._connection.connection_lost(exc)


async def _refuse_ahead(exchange: Exchange) -> None:
    respond_error(
        exchange, RequestError(f"at most {MAX_PIPELINED} requests can be sent before their answers")
    )


def _answer(error: BombyxError, path: bytes = b"") -> bytes:
    """An error as a whole answer, after which the connection closes; `path` as far as it came."""
    name = new_request_id()
    asked = path.decode("latin-1")
    body = msgspec.json.encode(refusal_document(asked, error, request_id=name.decode()))
    headers = [
        *error_headers(error),
        (b"content-type", b"application/json"),
        *request_names(asked, name),
        (b"connection", b"close"),
        (b"content-length", b"%d" % len(body)),
    ]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[error.status] + lines + b"\r\n" + body


def _too_long() -> HeadTooLarge:
    return HeadTooLarge(
        f"a request has at most {MAX_HEADERS} headers, and {READ_BYTES} bytes before its body"
    )


def _has_begun(cycle: Cycle) -> bool:
    begun = cycle.begun if isinstance(cycle, Exchange) else cycle.response_started
    return bool(begun)


def _sends_much(cycle: Cycle) -> bool:
    """Whether an answered request still goes on for more than is read to keep the connection."""
    if isinstance(cycle, Exchange):
        return True  # and its answer says that the connection closes
    length = header_of(cycle.scope["headers"], b"content-length")
    return not length or int(length) > READ_BYTES


def most_connections(wanted: int) -> int:
    """As many as wanted, or three quarters of the descriptors: links of workers need some too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(1, (soft - OTHER_DESCRIPTORS) * 3 // 4))
