"""A false gateway that a real worker dials: opens what streams it likes on the worker's link."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import msgspec
from aiohttp import WSMsgType, web

from bombyx import canonical
from bombyx.attack.means.liar import LINK_PATH, WAIT_SECONDS, link_url
from bombyx.attack.means.relay import serving
from bombyx.attack.means.requests import Forger
from bombyx.attack.means.simulator import unix
from bombyx.attack.target import Target
from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset
from bombyx.envelope.request import SealedRequest
from bombyx.link.documents import Refusal, SignedRefusal
from bombyx.link.frames import MAX_MESSAGE_BYTES, LinkFrame, LinkType
from bombyx.link.hello import Challenge, Hello, Identify, Welcome, challenge
from bombyx.link.mux import Mux
from bombyx.link.open import Open, SessionKey, WrappedKey, encode_open
from bombyx.money.offer import SignedOffer
from bombyx.signing import SEED_BYTES, Role, Signer

FEE_BPS = 500
DIAL_SECONDS = 20.0
Challenger = Callable[[Hello], Awaitable[Challenge]]


@dataclass(slots=True)
class Heard:
    """All that a worker said to one `open`."""

    data: bytes = b""
    refusal: SignedRefusal | None = None
    reset: str = ""
    ended: bool = False

    @property
    def ran(self) -> bool:
        """Whether the worker answered."""
        return len(self.data) > 0

    def __str__(self) -> str:
        if self.refusal is not None:
            word: Refusal = self.refusal.refusal
            return f"refused: {word.code}, fault {word.fault}"
        return f"answered {len(self.data)} bytes" if self.ran else f"reset: {self.reset}"


@dataclass(slots=True, repr=False)
class Lure:
    """The false gateway and, once the worker has dialled, the worker's link."""

    target: Target
    identity: Signer = field(default_factory=lambda: Signer(Role.GATEWAY, os.urandom(SEED_BYTES)))
    url: str = ""
    challenger: Challenger | None = None
    identified: asyncio.Queue[tuple[Hello, Challenge, Identify]] = field(
        default_factory=asyncio.Queue
    )
    mux: Mux = field(default_factory=Mux)
    hangups: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)
    _socket: web.WebSocketResponse | None = None
    _entry: Entry | None = None
    _linked: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: dict[int, asyncio.Queue[LinkFrame]] = field(default_factory=dict)
    _next: int = 1

    async def honest(self, hello: Hello) -> Challenge:
        """What a gateway says to a worker."""
        nonce = os.urandom(32).hex()
        url = link_url(self.url)
        return challenge(hello, self.identity, url=url, nonce=nonce, slot=0, epoch=1)

    async def link(self, request: web.Request) -> web.WebSocketResponse:
        """A worker dials."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=2 * MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        mux = Mux()
        hello = canonical.decode(await _document(socket, mux), Hello)
        offered = await (self.challenger or self.honest)(hello)
        await _say(socket, mux, LinkType.CHALLENGE, canonical.encode(offered))
        try:
            word = canonical.decode(await _document(socket, mux), Identify)
        except ConnectionError:
            self.hangups.put_nowait(True)  # noqa: FBT003 - a queue of events
            return socket
        self.identified.put_nowait((hello, offered, word))
        welcome = Welcome(fee_bps=FEE_BPS, deadline_s=1500)
        await _say(socket, mux, LinkType.WELCOME, canonical.encode(welcome))
        self._socket, self.mux, self._entry = socket, mux, _entry(word)
        self._linked.set()
        await self._listen(socket, mux)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, mux: Mux) -> None:
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            for frame in mux.receive(message.data):
                if frame.type == LinkType.PING:
                    mux.document(LinkType.PONG, frame.payload)
                elif frame.stream in self._heard:
                    if frame.type == LinkType.DATA:
                        mux.consumed(frame.stream, len(frame.payload))
                    self._heard[frame.stream].put_nowait(frame)
            await self.flush()
        if self._socket is socket:
            self._linked.clear()

    async def flush(self) -> None:
        """Send what is queued."""
        if self._socket is not None:
            while message := self.mux.next_message():
                await self._socket.send_bytes(message)

    async def hang_up(self) -> None:
        """Close the link; the worker dials again."""
        if self._socket is not None:
            self._linked.clear()
            await self._socket.close()

    async def entry(self) -> Entry:
        """The worker, as a directory would list it; waits until it has dialled."""
        async with asyncio.timeout(DIAL_SECONDS):
            await self._linked.wait()
        if self._entry is None:
            raise ConnectionError("the worker has not dialled")
        return self._entry

    async def listing(self) -> Directory:
        """A directory of this worker alone."""
        return Directory(
            gateway=self.identity.public_hex,
            fee_bps=FEE_BPS,
            default_max_output_tokens=4096,
            deadline_s=1500,
            now=unix(),
            workers=[await self.entry()],
            collateral={},
        )

    async def seal(self, text: str, **changes: object) -> SealedRequest:
        """An honest request to this worker through us, but for changes to its header."""
        forger, listed = Forger(self.target), await self.listing()
        body = forger.chat(text)
        header = forger.header(listed, listed.workers, body, **changes)
        return forger.seal(header, listed.workers, body)

    async def open(
        self,
        sealed: SealedRequest,
        *,
        key: SessionKey | None = None,
        deadline: int | None = None,
    ) -> Heard:
        """Hand a request to the worker and hear all that it says."""
        await self.entry()
        number, self._next = self._next, self._next + 1
        queue = self._heard[number] = asyncio.Queue()
        request = Open(
            deadline=unix() + 1500 if deadline is None else deadline,
            ticket=os.urandom(64),
            header=sealed.header.raw,
            c=sealed.c,
            auth=sealed.auth,
            key=key or WrappedKey(sealed.wraps[0]),
        )
        self.mux.open(number)
        self.mux.send_frame(number, LinkType.OPEN, encode_open(request))
        self.mux.send(number, sealed.frames)
        self.mux.send_frame(number, LinkType.END, b"")
        await self.flush()
        return await _hear_all(queue)

    async def say(self, kind: LinkType, payload: bytes) -> None:
        """A document of the link."""
        self.mux.document(kind, payload)
        await self.flush()


async def _hear_all(queue: "asyncio.Queue[LinkFrame]") -> Heard:
    heard = Heard()
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            frame = await queue.get()
            if frame.type == LinkType.DATA:
                heard = replace(heard, data=heard.data + frame.payload)
            elif frame.type == LinkType.REFUSAL:
                return replace(heard, refusal=canonical.decode(frame.payload, SignedRefusal))
            elif frame.type == LinkType.RESET:
                return replace(heard, reset=frame.payload.decode("ascii", "replace"))
            elif frame.type in (LinkType.END, LinkType.STATEMENT):
                return replace(heard, ended=True)


async def _document(socket: web.WebSocketResponse, mux: Mux) -> bytes:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            message = await socket.receive()
            if message.type is not WSMsgType.BINARY:
                raise ConnectionError("the worker hung up")
            for frame in mux.receive(message.data):
                return frame.payload


async def _say(socket: web.WebSocketResponse, mux: Mux, kind: LinkType, payload: bytes) -> None:
    mux.document(kind, payload)
    while message := mux.next_message():
        await socket.send_bytes(message)


def _entry(word: Identify) -> Entry:
    return Entry(
        keyset=canonical.decode(word.keyset.encode(), Keyset),
        evidence=canonical.decode(word.evidence.encode(), Evidence),
        offers=[msgspec.json.decode(text, type=SignedOffer) for text in word.offers],
    )


@contextlib.asynccontextmanager
async def luring(target: Target) -> AsyncIterator[Lure]:
    """A false gateway with a real worker's link; the worker process is the target's to start."""
    if target.start_worker is None:
        raise ValueError("a lure needs a worker that dials it")
    lure = Lure(target)
    app = web.Application()
    app.router.add_get(LINK_PATH, lure.link)
    async with serving(app) as url:
        lure.url = url
        await target.start_worker(url)
        try:
            yield lure
        finally:
            await lure.hang_up()


async def lured(target: Target) -> Lure:
    """The one lure that attacks share, since a worker process takes seconds to start."""
    lure = target.kept.get("lure")
    if lure is None:
        lure = target.kept["lure"] = await target.stack.enter_async_context(luring(target))
    lure.challenger = None
    if not isinstance(lure, Lure):
        raise TypeError("a lure was kept")
    return lure
