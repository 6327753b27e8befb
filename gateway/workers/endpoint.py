"""The WebSocket at which workers dial in (SPEC 10): hello, evidence, then the link's messages."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import partial
from typing import Any, TypeAlias

import structlog

from bombyx import canonical
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.attestation.verify import verify_worker
from bombyx.errors import BombyxError, LinkError, WorkerRefused
from bombyx.link.documents import Goaway
from bombyx.link.frames import LinkType
from bombyx.link.hello import Challenge, Hello, Identify, Welcome, challenge, check_identify
from bombyx.link.mux import Mux
from bombyx.money.offer import SignedOffer, verify_offer
from gateway.context import Context, unix_ms, unix_seconds
from gateway.workers.link import LinkEvents, WorkerLink
from gateway.workers.registry import Listed, sealing_key_of
from gateway.workers.resent import judge_resent

HELLO_SECONDS = 15.0
PING_SECONDS = 20.0
SILENCE_SECONDS = 45.0
"""Two missed pings and some: the link is dead."""

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_log = structlog.get_logger(__name__)


class _Closed(Exception):
    """The connection is gone."""


class LinkEndpoint:
    """One connection of one worker."""

    def __init__(self, context: Context, receive: Receive, send: Send) -> None:
        self._context = context
        self._receive = receive
        self._send = send
        self._mux = Mux()
        self._due = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hung_up: BombyxError | None = None

    async def run(self) -> None:
        """Until either side hangs up."""
        listed: Listed | None = None
        pump = asyncio.create_task(self._pump())
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                listed = await self._hello()
            await self._serve(listed)
        except _Closed:
            pass
        except TimeoutError:
            await self._refuse(self._hung_up or LinkError("the worker was silent for too long"))
        except BombyxError as error:
            await self._refuse(error)
        finally:
            pump.cancel()
            if listed is not None:
                self._unlist(listed)

    async def _hello(self) -> Listed:
        """Both sides prove who they are, the worker also what it runs."""
        context = self._context
        hello = canonical.decode(await self._document(LinkType.HELLO), Hello)
        offered = challenge(
            hello,
            context.keys.identity,
            url=context.link_url,
            nonce=os.urandom(32).hex(),
            slot=context.settings.slot,
            epoch=context.meter.epoch,
        )
        self._mux.document(LinkType.CHALLENGE, canonical.encode(offered))
        self._wake()
        identify = canonical.decode(await self._document(LinkType.IDENTIFY), Identify)
        listed = self._examine(hello, offered, identify)
        await context.sanctions.check(listed.verified)
        collateral = listed.collateral
        await context.archive.keep_worker(
            listed.verified.keyset, listed.evidence, collateral, now_ms=unix_ms()
        )
        for quote in listed.quotes.values():
            await context.archive.keep_offer(quote.signed)
        welcome = Welcome(
            fee_bps=context.settings.fee_bps,
            deadline_s=context.settings.max_duration_s + context.settings.settlement_grace_s,
        )
        self._mux.document(LinkType.WELCOME, canonical.encode(welcome))
        self._wake()
        return listed

    def _examine(self, hello: Hello, offered: Challenge, identify: Identify) -> Listed:
        """Evidence and offers; raises `WorkerRefused`, `LinkError` or `BadSignature`."""
        keyset = canonical.decode(identify.keyset.encode(), Keyset)
        evidence = canonical.decode(identify.evidence.encode(), Evidence)
        collateral = (
            canonical.decode(identify.collateral.encode(), Collateral)
            if isinstance(identify.collateral, str)
            else None
        )
        link_key = bytes.fromhex(keyset.link_key)
        worker = keyset_digest(keyset)
        check_identify(hello, offered, identify, worker=worker, link_key=link_key)
        now = unix_seconds()
        verified = verify_worker(keyset, evidence, collateral, policy=self._context.policy, now=now)
        offers = [self._offer(text.encode(), link_key) for text in identify.offers]
        link = WorkerLink(self._mux, self._events(), self._wake)
        listed = Listed(verified, evidence, collateral, link)
        listed.key_id, listed.sealing_key = sealing_key_of(verified)
        listed.add_offers(offers, now)
        self._listed = listed
        return listed

    def _offer(self, raw: bytes, link_key: bytes) -> SignedOffer:
        signed = canonical.decode(raw, SignedOffer)
        verify_offer(signed, link_key)
        return signed

    def _events(self) -> LinkEvents:
        context = self._context
        return LinkEvents(
            on_settle=lambda settle: context.desk.on_settle(self._listed, settle),
            on_resent=lambda raw: self._spawn(judge_resent(context, self._listed, raw)),
            on_status=lambda status: self._listed.take_status(status),  # noqa: PLW0108 - set later
            on_offers=self._take_offers,
        )

    def _take_offers(self, offers: list[SignedOffer]) -> None:
        link_key = bytes.fromhex(self._listed.verified.keyset.link_key)
        for signed in offers:
            verify_offer(signed, link_key)
        self._spawn(self._list_offers(offers))

    async def _list_offers(self, offers: list[SignedOffer]) -> None:
        """Archived first: a statement under an offer that a crash forgot could never be judged."""
        for signed in offers:
            await self._context.archive.keep_offer(signed)
        self._listed.add_offers(offers, unix_seconds())

    async def _serve(self, listed: Listed) -> None:
        context = self._context
        replaced = context.registry.add(listed)
        await context.sanctions.enforce()
        if replaced is not None:
            replaced.link.say_goodbye("replaced", "a newer link took this one's place", retry=False)
        _log.info("worker_linked", worker=listed.worker, models=list(listed.current))
        pinger = asyncio.create_task(self._ping(listed.link))
        try:
            await self._listen(listed.link)
        finally:
            pinger.cancel()

    async def _listen(self, link: WorkerLink) -> None:
        """Take messages until the link is silent; the limit moves once a second at most."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        async with asyncio.timeout(SILENCE_SECONDS) as silence:
            link.hang_up = partial(self._hang_up, silence)
            while True:
                link.receive(await self._next(), time.monotonic_ns())
                if self._hung_up is not None:
                    raise self._hung_up
                if (now := loop.time()) > since + 1:
                    silence.reschedule(now + SILENCE_SECONDS)
                    since = now

    def _hang_up(self, silence: asyncio.Timeout, why: BombyxError) -> None:
        """End the link from outside of its reader, as if its patience were over."""
        self._hung_up = why
        silence.reschedule(asyncio.get_running_loop().time())

    async def _ping(self, link: WorkerLink) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            link.ping(time.monotonic_ns())

    async def _document(self, kind: LinkType) -> bytes:
        """The next frame, which must be of one type."""
        while True:
            for frame in self._mux.receive(await self._next()):
                if frame.type != kind or frame.stream:
                    raise LinkError(f"expected {kind.name.lower()} in the hello")
                return frame.payload

    async def _next(self) -> bytes:
        message: Message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Closed
        data = message.get("bytes")
        if data is None:
            raise LinkError("a link carries binary messages")
        return bytes(data)

    def _wake(self) -> None:
        self._due.set()

    async def _pump(self) -> None:
        """Send what is due, all of one loop turn in as few messages as it fits."""
        while True:
            await self._due.wait()
            self._due.clear()
            while message := self._mux.next_message():
                await self._send({"type": "websocket.send", "bytes": message})

    async def _refuse(self, error: BombyxError) -> None:
        """Say why, then hang up."""
        retry = not isinstance(error, WorkerRefused)
        _log.warning("link_refused", code=error.code, reason=error.message)
        goaway = Goaway(code=error.code, message=error.message[:512], retry=retry)
        self._mux.document(LinkType.GOAWAY, canonical.encode(goaway))
        try:
            while message := self._mux.next_message():
                await self._send({"type": "websocket.send", "bytes": message})
            await self._send({"type": "websocket.close", "code": 4400, "reason": error.code})
        except (RuntimeError, OSError):
            return

    def _unlist(self, listed: Listed) -> None:
        context = self._context
        context.registry.remove(listed)
        context.sessions.forget(listed)
        listed.link.lose()
        context.desk.on_unlinked(listed)
        _log.info("worker_unlinked", worker=listed.worker)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve_link(context: Context, receive: Receive, send: Send) -> None:
    """Accept a worker's connection, or refuse it while draining or full."""
    await receive()
    if context.draining or len(context.registry.all()) >= context.settings.max_links:
        await send({"type": "websocket.close", "code": 1013, "reason": "draining or full"})
        return
    await send({"type": "websocket.accept", "subprotocol": None})
    await LinkEndpoint(context, receive, send).run()
