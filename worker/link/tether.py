"""One gateway and one keyset: a link that is made again whenever it is lost (SPEC 10).

After each welcome everything that this gateway has not disposed of is sent again, byte for byte.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import structlog

from bombyx.errors import JournalFailed, LinkError
from bombyx.link.documents import Goaway
from bombyx.link.frames import MAX_MESSAGE_BYTES, LinkType
from bombyx.link.mux import Mux
from worker.admission import Peer
from worker.clock import Clock
from worker.identity import Boot, Generation
from worker.ledger.journal import Journal
from worker.ledger.till import Shown
from worker.link.address import is_weaker, proxy_for
from worker.link.connection import Connection, Serve, TakeAck, TakeSession
from worker.link.handshake import Handshake, Met, Misled, SentAway
from worker.link.ratls import check_gateway, reason_of
from worker.sessions import Sessions

FIRST_BACKOFF_SECONDS = 0.25
LAST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 3.0
"""A link that lived so long starts the back-off anew: who sits behind a bad line is to serve in
between, and a gateway that verifies our evidence every few seconds is not harmed by it."""
RESEND_SECONDS = 10.0
"""What waits longer than this for its disposition is sent again: its first sending may be lost."""
RESEND_TURNS = 60
"""On one link once in so many turns: what a gateway cannot judge must not fill the link."""
_CONNECT_SECONDS = 15.0

_log = structlog.get_logger("worker.link")


@dataclass(frozen=True, slots=True)
class Office:
    """Whom links work for."""

    boot: Boot
    journal: Journal
    clock: Clock
    serve: Serve
    take_ack: TakeAck
    take_session: TakeSession
    linked: Callable[[Connection], None]
    shown: Callable[[str], Shown] = lambda _gateway: Shown()
    """How a gateway pays, for the hello."""
    tell: Callable[[str, str], None] = lambda _name, _sentence: None
    """A sentence for the owner, under a name."""
    clear: Callable[[str], None] = lambda _name: None


class Tether:
    """Keeps one link alive until `close`."""

    def __init__(
        self,
        url: str,
        generation: Generation,
        office: Office,
        *,
        unlinked: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self.generation = generation
        self.connection: Connection | None = None
        self._office = office
        self._unlinked = unlinked
        self._hurry = asyncio.Event()
        self._closing = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._failures = 0
        self.trouble = ""
        """Why it does not stand, as its owner was told."""

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Dial until closed; returns early when the gateway does not want this worker at all."""
        while not self._closing.is_set():
            try:
                await self._link(session)
            except SentAway as error:
                _log.warning("refused", url=self.url, code=error.reason, reason=error.message)
                self._tell(f"{self.url}: {error.message}")
                if not error.retry:
                    return
            except Misled as error:
                self._follow(error.right)
            except (LinkError, aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = reason_of(error)
                _log.warning("link_failed", url=self.url, reason=reason)
                self._tell(f"{self.url} cannot be linked to: {reason}")
            except Exception as error:  # noqa: BLE001 - a bug on one link must not end the others
                _log.error("link_failed", url=self.url, kind=type(error).__name__)
            self._unlinked()
            await self._pause()

    @property
    def _notice(self) -> str:
        return f"link to {self.url}"

    def _tell(self, sentence: str) -> None:
        self.trouble = sentence
        self._office.tell(self._notice, sentence)

    def reassure(self) -> None:
        """Take back what another keyset's link was told of this URL, if this one stands."""
        if self.connection is not None:
            self._office.clear(self._notice)

    def hurry(self) -> None:
        """There is news of whom it dials: the next try is made at once."""
        self._failures = 0
        self._hurry.set()

    def _follow(self, right: str) -> None:
        """The gateway named another URL for this link: that is dialled next, unless it is worse."""
        _log.warning("misled", url=self.url, right=right)
        if right.startswith(("ws://", "wss://")) and not is_weaker(right, self.url):
            self.url = right

    async def close(self, grace_seconds: float) -> None:
        """Ask for nothing new, let requests end, close; aborts what is left after the grace."""
        self._closing.set()
        self._hurry.set()
        connection = self.connection
        if connection is not None:
            connection.goaway("draining", "the worker is stopping")
            await self._leave(connection, grace_seconds)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=grace_seconds)

    async def _link(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            socket = await session.ws_connect(
                self.url,
                compress=0,
                max_msg_size=2 * MAX_MESSAGE_BYTES,
                proxy=proxy_for(self.url),
                autoclose=True,
            )
        try:
            mux = Mux()
            now = self._office.clock() // 1000
            met = await Handshake(socket, mux).meet(
                self.url,
                boot=self._office.boot,
                generation=self.generation,
                now=now,
                shown=self._office.shown,
            )
            check_gateway(socket, met.gateway)
        except BaseException:
            await socket.close()
            raise
        born = loop.time()
        await self._serve(socket, mux, met)
        if loop.time() - born > STEADY_SECONDS:
            self._failures = 0

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse, mux: Mux, met: Met) -> None:
        office = self._office
        peer = Peer(met.gateway, self.generation.worker, Sessions(gateway=met.gateway))
        connection = self.connection = Connection(
            socket,
            mux,
            peer,
            serve=office.serve,
            take_ack=office.take_ack,
            take_session=office.take_session,
        )
        _log.info("linked", url=self.url, gateway=met.gateway, fee_bps=met.welcome.fee_bps)
        self.trouble = ""
        office.clear(self._notice)
        office.linked(connection)
        for offer in self.generation.offers.documents():
            if offer not in met.offers:  # made while hands were shaken
                connection.document(LinkType.OFFER, offer.encode())
        resending = asyncio.create_task(self._resend(connection))
        living = asyncio.create_task(connection.run(met.rest))
        leaving = asyncio.create_task(connection.sent_away.wait())
        try:
            await asyncio.wait({living, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                self.connection = None
                await living
                _log.warning("link_lost", url=self.url)
                return
            # Sent away: what runs may end on the old link while a new one is dialled.
            self._tell_farewell(connection.farewell)
            self._failures = 0
            self._part_from(connection, living)
        except asyncio.CancelledError:
            living.cancel()
            raise
        finally:
            leaving.cancel()
            resending.cancel()

    def _tell_farewell(self, word: Goaway | None) -> None:
        code, why = (word.code, word.message) if word is not None else ("", "")
        _log.info("goaway", url=self.url, code=code, reason=why)
        self._tell(f"{self.url} sent this worker away: {code}: {why}")

    def _part_from(self, connection: Connection, living: "asyncio.Task[None]") -> None:
        async def part() -> None:
            await connection.drained()
            await connection.close()
            with contextlib.suppress(LinkError):
                await living

        self.connection = None
        task = asyncio.create_task(part())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, connection: Connection, grace_seconds: float) -> None:
        try:
            async with asyncio.timeout(grace_seconds):
                await connection.drained()
        except TimeoutError:
            connection.stop_streams("draining")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await connection.drained()
        await connection.close()

    async def _resend(self, connection: Connection) -> None:
        """At once everything undisposed, later what has waited long."""
        gateway, journal = connection.peer.gateway, self._office.journal
        sent: set[str] = set()
        age_ms = 0
        for turn in itertools.count(1):
            newest = self._office.clock() - age_ms
            try:
                undisposed = await journal.undisposed(gateway)
            except JournalFailed as error:
                _log.error("journal_failed", reason=error.message)
                undisposed = []
            waiting = [one for one in undisposed if one.at <= newest and one.statement not in sent]
            for entry in waiting:
                connection.document(LinkType.STATEMENT, entry.document)
                sent.add(entry.statement)
            if waiting:
                _log.info("resent", url=self.url, statements=len(waiting))
            if turn % RESEND_TURNS == 0:
                sent.clear()
            age_ms = int(RESEND_SECONDS * 1000)
            await asyncio.sleep(RESEND_SECONDS)

    async def _pause(self) -> None:
        """Wait longer after each failure, with jitter, up to 30 s; not at all when closing."""
        longest = min(FIRST_BACKOFF_SECONDS * 2**self._failures, LAST_BACKOFF_SECONDS)
        self._failures = min(self._failures + 1, 16)
        # Jitter keeps a fleet from returning all at once; nothing secret hangs on it.
        seconds = longest * (0.5 + random.random() / 2)  # noqa: S311
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._closing.is_set() else seconds):
                await self._hurry.wait()
