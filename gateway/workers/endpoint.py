"""The WebSocket at which workers dial in (SPEC 10): hello, evidence, then the link's messages."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import partial
from typing import Any, TypeAlias

import structlog

from bombyx import canonical
from bombyx.attestation.bundle import Bundle, Case, make_bundle
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.attestation.verify import verify_worker
from bombyx.attestation.wanted import read_documents, wanted_documents
from bombyx.errors import BombyxError, LinkError, WorkerRefused
from bombyx.link.documents import Goaway
from bombyx.link.frames import LinkType
from bombyx.link.hello import (
    Challenge,
    Hello,
    Identify,
    Welcome,
    challenge,
    check_clock,
    check_identify,
)
from bombyx.link.mux import Mux
from bombyx.money.offer import SignedOffer, verify_offer
from gateway.collateral.beside import is_plain
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


WRONG_SLOT = 4421
"""Closes a link that came to another process than it asked for; the reason is the right URL."""
MAX_REASON_BYTES = 123


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
        keyset, link_key = self._identified(hello, offered, identify)
        evidence = canonical.decode(identify.evidence.encode(), Evidence)
        vendor = await self._beside(keyset, evidence)
        listed, bundle = self._examine(keyset, evidence, identify, vendor, link_key=link_key)
        await context.sanctions.check(listed.verified)
        await context.archive.keep_worker(keyset, evidence, listed.collateral, now_ms=unix_ms())
        await context.archive.keep_decision(bundle)
        for quote in listed.quotes.values():
            await context.archive.keep_offer(quote.signed)
        if context.paymaster is not None:
            await context.paymaster.meet(listed, identify)
        welcome = Welcome(
            fee_bps=context.settings.fee_bps,
            deadline_s=context.settings.max_duration_s + context.settings.settlement_grace_s,
        )
        self._mux.document(LinkType.WELCOME, canonical.encode(welcome))
        self._wake()
        return listed

    def _identified(
        self, hello: Hello, offered: Challenge, identify: Identify
    ) -> tuple[Keyset, bytes]:
        """The keyset whose link key signed, and that key; raises `LinkError`, `ClockSkew`."""
        keyset = canonical.decode(identify.keyset.encode(), Keyset)
        link_key = bytes.fromhex(keyset.link_key)
        check_identify(hello, offered, identify, worker=keyset_digest(keyset), link_key=link_key)
        check_clock(identify, unix_seconds())
        return keyset, link_key

    async def _beside(self, keyset: Keyset, evidence: Evidence) -> dict[str, str]:
        """What vendors say about the machine; nothing is asked for a platform that cannot pass."""
        context = self._context
        if is_plain(evidence) or keyset.platform not in context.policy.platforms:
            return {}
        names = wanted_documents(evidence)
        nvidia = context.policy.nvidia
        if nvidia is None or not nvidia.require_firmware:
            # Anybody can name any reference: it is asked for only where it decides.
            names = tuple(name for name in names if not name.startswith("nvidia/"))
        return await context.beside.texts(names)

    def _examine(
        self,
        keyset: Keyset,
        evidence: Evidence,
        identify: Identify,
        vendor: dict[str, str],
        *,
        link_key: bytes,
    ) -> tuple[Listed, Bundle]:
        """Evidence and offers; raises `WorkerRefused`, `LinkError` or `BadSignature`."""
        collateral = (
            canonical.decode(identify.collateral.encode(), Collateral)
            if isinstance(identify.collateral, str)
            else None
        )
        now, policy = unix_seconds(), self._context.policy
        verified = verify_worker(
            keyset,
            evidence,
            collateral,
            policy=policy,
            now=now,
            vendor=read_documents(vendor),
        )
        offers = [self._offer(text.encode(), link_key) for text in identify.offers]
        link = WorkerLink(self._mux, self._events(), self._wake)
        listed = Listed(verified, evidence, collateral, link)
        listed.key_id, listed.sealing_key = sealing_key_of(verified)
        listed.add_offers(offers, now)
        self._listed = listed
        case = Case(keyset, evidence, collateral, vendor, policy, now)
        return listed, make_bundle(case, verified.steps, verified.conclusion)

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
        if context.paymaster is not None:
            context.paymaster.linked(listed)
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
        if context.paymaster is not None:
            context.paymaster.unlinked(listed)
        _log.info("worker_unlinked", worker=listed.worker)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve_link(context: Context, scope: Scope, receive: Receive, send: Send) -> None:
    """Accept a worker's connection, or refuse it while draining or full, or when it is misled."""
    await receive()
    asked = scope["path"].rpartition("/")[2]
    if asked != str(context.settings.slot):
        await _send_to(context, asked, send)
        return
    if context.draining or len(context.registry.all()) >= context.settings.max_links:
        await send({"type": "websocket.close", "code": 1013, "reason": "draining or full"})
        return
    await send({"type": "websocket.accept", "subprotocol": None})
    await LinkEndpoint(context, receive, send).run()


async def _send_to(context: Context, asked: str, send: Send) -> None:
    """Close the link of a worker that meant another process, naming its URL (SPEC 10.5)."""
    known = {str(slot): one.row.link_url for slot, one in context.neighbours.known.items()}
    right = known.get(asked, context.link_url)
    reason = right if len(right) <= MAX_REASON_BYTES else ""
    await send({"type": "websocket.accept", "subprotocol": None})
    await send({"type": "websocket.close", "code": WRONG_SLOT, "reason": reason})
