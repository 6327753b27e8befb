"""A gateway's end of links: a real WebSocket server with the real handshake, mux and walker."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from bombyx import canonical
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.envelope.request import SealedRequest
from bombyx.envelope.walker import ResponseWalker
from bombyx.link.documents import (
    Ack,
    Disposition,
    Goaway,
    Settle,
    SignedRefusal,
    WorkerStatus,
)
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.hello import Hello, Identify, Welcome, challenge, check_identify
from bombyx.link.mux import Mux
from bombyx.link.open import Open, encode_open
from bombyx.money.offer import SignedOffer, verify_offer
from bombyx.money.receipt import Receipt
from tests.worker.sealing import FEE_BPS, GATEWAY, Listing, make_open

PATIENCE = 5.0


async def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Poll, in milliseconds, for something that happens elsewhere in the loop."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def unix() -> int:
    return time.time_ns() // 1_000_000_000


@dataclass
class PeerStream:
    """One request as the gateway sees it."""

    number: int
    walker: ResponseWalker
    data: bytearray = field(default_factory=bytearray)
    statements: list[Receipt] = field(default_factory=list)
    refusal: SignedRefusal | None = None
    reset: str | None = None
    is_over: bool = False
    reads: bool = True

    async def over(self, seconds: float = PATIENCE) -> "PeerStream":
        await until(lambda: self.is_over, seconds)
        return self


class PeerLink:
    """One link after its handshake."""

    def __init__(self, socket: web.WebSocketResponse, mux: Mux, listing: Listing) -> None:
        self.listing = listing
        self.mux = mux
        self.streams: dict[int, PeerStream] = {}
        self.resent: list[Receipt] = []
        self.resent_bytes: list[bytes] = []
        self.settles: list[Settle] = []
        self.statuses: list[WorkerStatus] = []
        self.goaways: list[Goaway] = []
        self.pongs: list[bytes] = []
        self.is_lost = False
        self._socket = socket
        self._next = 1

    async def open(self, request: Open, frames: bytes, *, reads: bool = True) -> PeerStream:
        number, self._next = self._next, self._next + 1
        self.mux.open(number)
        h = canonical.digest(canonical.decode(request.header, _header()))
        stream = self.streams[number] = PeerStream(number, ResponseWalker(h), reads=reads)
        self.mux.send_frame(number, LinkType.OPEN, encode_open(request))
        self.mux.send(number, frames)
        self.mux.send_frame(number, LinkType.END, b"")
        await self.flush()
        return stream

    async def ask(self, sealed: SealedRequest, *, reads: bool = True) -> PeerStream:
        return await self.open(make_open(sealed, now=unix()), sealed.frames, reads=reads)

    async def reset(self, stream: PeerStream, code: str = "client_gone") -> None:
        self.mux.send_frame(stream.number, LinkType.RESET, code.encode())
        await self.flush()

    async def read(self, stream: PeerStream) -> None:
        """Take what a stream holds, and go on taking."""
        stream.reads = True
        self.mux.consumed(stream.number, len(stream.data))
        await self.flush()

    async def say(self, frame_type: LinkType, payload: bytes) -> None:
        self.mux.document(frame_type, payload)
        await self.flush()

    async def ack(self, *hashes: str, disposition: Any = "billed") -> None:
        words = [Disposition(statement=one, disposition=disposition) for one in hashes]
        await self.say(LinkType.ACK, canonical.encode(Ack(dispositions=words)))

    async def flush(self) -> None:
        while message := self.mux.next_message():
            await self._socket.send_bytes(message)

    async def kill(self) -> None:
        """Cut the connection without a word."""
        transport = self._socket._req.transport if self._socket._req else None
        if transport is not None:
            transport.abort()

    async def run(self) -> None:
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY:
                    break
                for frame in self.mux.receive(message.data):
                    self._take(frame)
                await self.flush()
        finally:
            self.is_lost = True

    def _take(self, frame: LinkFrame) -> None:
        if frame.stream:
            self._take_stream(self.streams[frame.stream], frame)
        elif frame.type == LinkType.STATEMENT:
            self.resent_bytes.append(frame.payload)
            self.resent.append(canonical.decode(frame.payload, Receipt))
        elif frame.type == LinkType.SETTLE:
            self.settles.append(canonical.decode(frame.payload, Settle))
        elif frame.type == LinkType.STATUS:
            self.statuses.append(canonical.decode(frame.payload, WorkerStatus))
        elif frame.type == LinkType.OFFER:
            self._take_offer(canonical.decode(frame.payload, SignedOffer))
        elif frame.type == LinkType.GOAWAY:
            self.goaways.append(canonical.decode(frame.payload, Goaway))
        elif frame.type == LinkType.PING:
            self.mux.document(LinkType.PONG, frame.payload)
        elif frame.type == LinkType.PONG:
            self.pongs.append(frame.payload)
        else:
            raise AssertionError(frame.type)

    def _take_offer(self, signed: SignedOffer) -> None:
        verify_offer(signed, bytes.fromhex(self.listing.keyset.link_key))
        rest = [one for one in self.listing.offers if one.offer.model != signed.offer.model]
        self.listing = Listing(self.listing.keyset, [*rest, signed])

    def _take_stream(self, stream: PeerStream, frame: LinkFrame) -> None:
        assert not stream.is_over
        if frame.type == LinkType.DATA:
            stream.data += frame.payload
            stream.walker.feed(frame.payload)
            if stream.reads:
                self.mux.consumed(stream.number, len(frame.payload))
        elif frame.type == LinkType.STATEMENT:
            stream.statements.append(canonical.decode(frame.payload, Receipt))
        else:
            if frame.type == LinkType.REFUSAL:
                stream.refusal = canonical.decode(frame.payload, SignedRefusal)
            elif frame.type == LinkType.RESET:
                stream.reset = frame.payload.decode()
            else:
                assert frame.type == LinkType.END
            stream.is_over = True
            self.mux.close(stream.number)


def _header() -> Any:
    from bombyx.envelope.header import Header  # noqa: PLC0415

    return Header


class GatewayPeer:
    """The server; `links` in the order in which workers came."""

    def __init__(self) -> None:
        self.links: list[PeerLink] = []
        self.hellos = 0
        self.refuse_with: Goaway | None = None
        self.calls_itself: str | None = None
        self.sends_to: str | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/workers/link/0"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/workers/link/0", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def link(self, index: int = 0, *, seconds: float = PATIENCE) -> PeerLink:
        await until(lambda: len(self.links) > index, seconds)
        return self.links[index]

    async def _handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, autoping=True, max_msg_size=2**20)
        await socket.prepare(request)
        self.hellos += 1
        if self.sends_to is not None:
            await socket.close(code=4421, message=self.sends_to.encode())
            return socket
        mux = Mux()
        with contextlib.suppress(ConnectionError):
            listing = await self._meet(socket, mux)
            if listing is not None:
                link = PeerLink(socket, mux, listing)
                self.links.append(link)
                await link.run()
        return socket

    async def _meet(self, socket: web.WebSocketResponse, mux: Mux) -> Listing | None:
        hello = canonical.decode(await self._hear(socket, mux, LinkType.HELLO), Hello)
        offered = challenge(
            hello,
            GATEWAY,
            url=self.calls_itself or self.url,
            nonce=os.urandom(32).hex(),
            slot=0,
            epoch=1,
        )
        await self._say(socket, mux, LinkType.CHALLENGE, offered)
        if self.calls_itself is not None:
            return None
        identify = canonical.decode(await self._hear(socket, mux, LinkType.IDENTIFY), Identify)
        if self.refuse_with is not None:
            await self._say(socket, mux, LinkType.GOAWAY, self.refuse_with)
            return None
        keyset = canonical.decode(identify.keyset.encode(), Keyset)
        canonical.decode(identify.evidence.encode(), Evidence)
        link_key = bytes.fromhex(keyset.link_key)
        worker = keyset_digest(keyset)
        check_identify(hello, offered, identify, worker=worker, link_key=link_key)
        offers = [canonical.decode(text.encode(), SignedOffer) for text in identify.offers]
        for offer in offers:
            verify_offer(offer, link_key)
        await self._say(socket, mux, LinkType.WELCOME, Welcome(fee_bps=FEE_BPS, deadline_s=1500))
        return Listing(keyset, offers)

    async def _hear(self, socket: web.WebSocketResponse, mux: Mux, kind: LinkType) -> bytes:
        frames: list[LinkFrame] = []
        while not frames:
            message = await socket.receive()
            if message.type is not WSMsgType.BINARY:
                raise ConnectionError
            frames = mux.receive(message.data)
        assert [frame.type for frame in frames] == [kind]
        return frames[0].payload

    async def _say(
        self, socket: web.WebSocketResponse, mux: Mux, kind: LinkType, document: Any
    ) -> None:
        mux.document(kind, canonical.encode(document))
        while message := mux.next_message():
            await socket.send_bytes(message)
