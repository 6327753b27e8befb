"""A live link: messages in, batched messages out, one task per request (SPEC 10).

Everything queued within one turn of the event loop leaves in as few messages as it fits.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

import aiohttp
import structlog

from bombyx import canonical
from bombyx.errors import CannotOpen, LinkError, NotCanonical
from bombyx.link.documents import Ack, Goaway, SessionStart
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.mux import Mux
from bombyx.link.open import parse_open
from worker.admission import Peer
from worker.link.stream import Stream

MAX_STREAMS = 4096
"""Of one link at once; admission refuses what is beyond the worker's places long before."""
PING_SECONDS = 20.0
PONG_SECONDS = 20.0
_PING_BYTES = 8
_CLOSE_SECONDS = 2.0

_log = structlog.get_logger("worker.link")

Serve = Callable[[Stream, Peer], Awaitable[None]]
TakeAck = Callable[[str, Ack], Awaitable[None]]
TakeSession = Callable[[SessionStart, Peer], None]


class Connection:
    """One socket after its handshake; `run` returns when the link is gone."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        mux: Mux,
        peer: Peer,
        *,
        serve: Serve,
        take_ack: TakeAck,
        take_session: TakeSession,
    ) -> None:
        self.peer = peer
        self.mux = mux
        self.sent_away: asyncio.Event = asyncio.Event()
        self.farewell: Goaway | None = None
        """With what words the gateway sent it away."""
        self._socket = socket
        self._serve = serve
        self._take_ack = take_ack
        self._take_session = take_session
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due = asyncio.Event()
        self._queue_waiters: list[asyncio.Future[None]] = []
        self._credit_waiters: list[asyncio.Future[None]] = []
        self._pong: asyncio.Future[None] | None = None
        self._ping = b""

    def changed(self) -> None:
        """Something is queued: it is sent after this turn of the loop."""
        self._due.set()

    async def room(self, stream: int) -> None:
        """Wait until the stream's queue was sent or credit came."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        has_credit = self.mux.has_credit(stream)
        (self._queue_waiters if has_credit else self._credit_waiters).append(waiter)
        await waiter

    def document(self, frame_type: LinkType, payload: bytes) -> None:
        """Send a document of the link itself."""
        self.mux.document(frame_type, payload)
        self.changed()

    def goaway(self, code: str, message: str) -> None:
        """Ask for no new requests."""
        document = Goaway(code=code, message=message, retry=True)
        self.document(LinkType.GOAWAY, canonical.encode(document))

    async def run(self, received: list[LinkFrame]) -> None:
        """Serve until the link is lost or closed; `received` came behind the welcome.

        Raises `LinkError` when the gateway breaks the protocol. Running requests are told that
        nobody listens; they end on their own.
        """
        helpers = [asyncio.create_task(one) for one in (self._write(), self._keep_alive())]
        try:
            self._take_all(received)
            async for message in self._socket:
                self._take_message(message)
        except LinkError as error:
            await self._complain(error)
            raise
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            for stream in self._streams.values():
                stream.stop("link_lost")
            self._wake(self._queue_waiters)
            self._wake(self._credit_waiters)
            await self._socket.close()

    async def close(self) -> None:
        """Say what is queued, then close the socket."""
        with contextlib.suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send_all()
        await self._socket.close()

    async def drained(self) -> None:
        """Return when the requests of this link have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stop_streams(self, code: str) -> None:
        """Make running requests end as aborted."""
        for stream in self._streams.values():
            stream.stop(code)
        self._wake(self._credit_waiters)
        self._wake(self._queue_waiters)

    def _take_message(self, message: aiohttp.WSMessage) -> None:
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise LinkError("the gateway sent a message that is not binary")
        self._take_all(self.mux.receive(message.data))

    def _take_all(self, frames: list[LinkFrame]) -> None:
        for frame in frames:
            if frame.stream:
                self._take_stream(frame)
            else:
                self._take_document(frame)
        self._wake(self._credit_waiters)

    def _take_stream(self, frame: LinkFrame) -> None:
        if frame.type == LinkType.OPEN:
            self._open(frame)
            return
        stream = self._streams.get(frame.stream)
        if stream is None:
            return  # late frames of a stream that has ended here
        if frame.type == LinkType.DATA:
            stream.receive(frame.payload)
        elif frame.type == LinkType.END:
            stream.finish()
        elif frame.type == LinkType.RESET:
            stream.stop(frame.payload[:64].decode("ascii", "replace"))
            self._wake(self._queue_waiters)
        else:
            raise LinkError("the gateway sent a stream frame that only workers send")

    def _open(self, frame: LinkFrame) -> None:
        request = parse_open(frame.payload)
        if len(self._streams) >= MAX_STREAMS:
            raise LinkError("the gateway opens more streams than any worker runs")
        stream = self._streams[frame.stream] = Stream(frame.stream, request, self)
        task = asyncio.create_task(self._run(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: Stream) -> None:
        try:
            await self._serve(stream, self.peer)
        except Exception as error:  # noqa: BLE001 - one request's bug must not end the others
            # The type alone: a message may hold content.
            _log.error("request_failed", kind=type(error).__name__)
        finally:
            stream.reset("worker_failed")  # unless it had its last word
            self._streams.pop(stream.number, None)

    def _take_document(self, frame: LinkFrame) -> None:
        try:
            if frame.type == LinkType.ACK:
                ack = canonical.decode(frame.payload, Ack)
                self._spawn(self._take_ack(self.peer.gateway, ack))
            elif frame.type == LinkType.SESSION:
                self._take_session(canonical.decode(frame.payload, SessionStart), self.peer)
            elif frame.type == LinkType.PING:
                self.document(LinkType.PONG, frame.payload[:_PING_BYTES])
            elif frame.type == LinkType.PONG:
                self._take_pong(frame.payload)
            elif frame.type == LinkType.GOAWAY:
                self.farewell = canonical.decode(frame.payload, Goaway)
                self.sent_away.set()
            else:
                raise LinkError("the gateway sent a document that only workers send")
        except (NotCanonical, CannotOpen) as error:
            raise LinkError(error.message) from None

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self._send_all()

    async def _send_all(self) -> None:
        try:
            while message := self.mux.next_message():
                await self._socket.send_bytes(message)
                self._wake(self._queue_waiters)
        except (ConnectionError, aiohttp.ClientError, RuntimeError):
            await self._socket.close()  # the reader sees it and ends the link

    def _wake(self, waiters: list["asyncio.Future[None]"]) -> None:
        woken, waiters[:] = waiters[:], []
        for waiter in woken:
            if not waiter.done():
                waiter.set_result(None)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            self._ping = os.urandom(_PING_BYTES)
            self._pong = asyncio.get_running_loop().create_future()
            self.document(LinkType.PING, self._ping)
            try:
                async with asyncio.timeout(PONG_SECONDS):
                    await self._pong
            except TimeoutError:
                await self._socket.close()
                return

    def _take_pong(self, payload: bytes) -> None:
        if self._pong is not None and not self._pong.done() and payload == self._ping:
            self._pong.set_result(None)

    async def _complain(self, error: LinkError) -> None:
        """Say why before the link is closed."""
        document = Goaway(code=error.code, message=error.message[:512], retry=True)
        self.mux.document(LinkType.GOAWAY, canonical.encode(document))
        await self._send_all()
