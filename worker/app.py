"""The worker put together: what lives as long as the process, and its clockwork (SPEC 4, 6, 10).

Boot, journal, replay store and statements' counters outlive links and generations of keys. Offers
are renewed every few minutes, keys every 12 hours, both while requests run.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from bombyx import canonical
from bombyx.errors import BombyxError, JournalFailed, SetupError
from bombyx.link.documents import Ack, SessionStart, Settle, WorkerStatus
from bombyx.link.frames import LinkType
from bombyx.money.offer import Prices
from worker.admission import Admission, Peer
from worker.attest.port import Quoter
from worker.background import Background
from worker.clock import Clock
from worker.engine.port import Engine, EngineModel
from worker.identity import (
    ADMISSIBLE_SECONDS,
    ROTATION_SECONDS,
    Boot,
    Generation,
    Generations,
    new_generation,
)
from worker.inference.answer import Desk
from worker.inference.service import MAX_SECONDS, Service
from worker.ledger.credit import Credit
from worker.ledger.journal import Journal
from worker.ledger.press import Press
from worker.ledger.scribe import Scribe
from worker.link.connection import Connection
from worker.link.dialer import Dialer
from worker.link.ratls import connectors
from worker.link.tether import Office, Tether
from worker.load import load_of
from worker.notices import Notices
from worker.offers import REFRESH_SECONDS
from worker.oversight import oversee, watch_clock
from worker.paying import Reserver, make_till
from worker.seen import Seen
from worker.settings import WorkerSettings

STATUS_SECONDS = 2.0
STATUS_PAUSE_SECONDS = 0.1
"""Between two reports of a load that changes all the time."""
_RETRY_ROTATION_SECONDS = 300.0
LINKED_SECONDS = 30.0
"""For a gateway to verify a new keyset's evidence and list it."""

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the shell brings: a started engine with what it serves, the machine, the journal."""

    engine: Engine
    models: Sequence[EngineModel]
    quoter: Quoter
    journal: Journal
    clock: Clock
    folder: Path | None = None
    """Where the owner finds what gateways pay."""


class Worker:
    """One worker process; `start`, then `close`."""

    def __init__(
        self, settings: WorkerSettings, parts: Parts, *, boot: Boot, first: Generation
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._boot = boot
        self.models = tuple(parts.models)
        """What the newest keyset names."""
        self.generations = Generations(first)
        self.notices = Notices(parts.clock)
        """What is wrong, a sentence each."""
        self.linked = asyncio.Event()
        """Set once a gateway has listed this worker."""
        self._desks: dict[str, tuple[Desk, Press]] = {}
        self.till = make_till(settings, parts.journal, self.notices, folder=parts.folder)
        self._credit = Credit(
            parts.journal.unpaid,
            limit=self.till.limit,
            places=settings.slots + settings.max_waiting,
        )
        self._reserve = Reserver(self._credit, parts.journal, self.notices)
        self.is_paused = False
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._changed = asyncio.Event()
        self._statuses: list[bytes] = []
        self._background = Background(self.notices.tell)
        self._dialer = self._make_dialer()

    @classmethod
    async def create(cls, settings: WorkerSettings, parts: Parts) -> "Worker":
        """A newborn worker; raises `AttestationError`, `SetupError` or `JournalFailed`."""
        if not settings.gateway:
            raise SetupError("name a gateway: bombyx worker --gateway https://HOST:PORT")
        boot = Boot.fresh()
        worker = cls(
            settings, parts, boot=boot, first=await _born(settings, parts, boot, parts.models)
        )
        await worker.till.open()
        worker.publish(worker.generations.current)
        return worker

    @property
    def gateways(self) -> list[str]:
        """URLs of the live links."""
        return self._dialer.live_urls

    @property
    def tethers(self) -> list[Tether]:
        """Every link that is kept up, whether or not it stands."""
        return self._dialer.tethers

    @property
    def running(self) -> int:
        """Requests that run or wait here."""
        return self._credit.running

    def start(self) -> None:
        """Dial, and keep the clockwork going."""
        self._dialer.start(self.generations.current)
        work = self._report(), self._renew_offers(), self._rotate_keys(), self._watch_clock()
        for one in work:
            self._background.spawn(one)

    async def given_up(self) -> None:
        """Return when every gateway has sent this worker away for good."""
        while True:
            await self._resumed.wait()
            await self._dialer.given_up()
            if not self.is_paused:
                return

    async def close(self) -> None:
        """Take nothing new, let requests end within the grace, settle, hang up."""
        self._credit.is_draining = True
        await self._dialer.close(self._settings.grace_seconds)
        await self.till.close()
        for _, press in self._desks.values():
            press.close()
        await self._background.close()

    def publish(self, generation: Generation) -> None:
        """New offers of every model, to every gateway."""
        one = self._settings
        prices = Prices(
            prompt=str(one.price_prompt),
            cached=str(one.price_cached),
            completion=str(one.price_completion),
            reasoning=str(one.price_reasoning),
        )
        offers = generation.offers.publish(
            dict.fromkeys(generation.models, prices),
            worker=generation.worker,
            signer=self._boot.link,
            max_concurrency=one.slots,
            not_after=generation.keyset.not_after,
            now=self._parts.clock() // 1000,
        )
        for offer in offers:
            self._dialer.tell_of(generation, LinkType.OFFER, canonical.encode(offer))

    async def rotate(self) -> None:
        """Become a new generation: new links first, the old ones go once nothing may come there."""
        old, _ = await self._succeed()
        self._background.spawn(self._retire(old))

    async def serve_models(self, models: Sequence[EngineModel]) -> "asyncio.Task[None]":
        """Become a generation with these models; the old links end when their requests have.

        Returns what waits for that. Raises `SetupError` where no gateway takes it, and then serves
        on as it did.
        """
        before, self.models = self.models, tuple(models)
        try:
            old, new = await self._succeed()
        except BaseException:
            self.models = before
            raise
        if not self.is_paused and not await self._dialer.linked(new, LINKED_SECONDS):
            self.models = before
            self.generations.take_back(old)
            why = self._dialer.troubles(new)
            self._background.spawn(self._give_up(new))
            raise SetupError(
                "no gateway takes the worker with these models, so it serves on as it was: "
                + ("; ".join(why) or f"none had listed it after {LINKED_SECONDS:.0f} s")
            )
        self._changed.set()
        return self._background.spawn(self._dialer.retire(old, MAX_SECONDS))

    async def _give_up(self, new: Generation) -> None:
        """What its links were told is of no interest to an owner whose worker serves on."""
        await self._dialer.retire(new, 0)
        for tether in self.tethers:
            tether.reassure()

    async def pause(self) -> None:
        """Hang up on every gateway; requests that run end in peace. Undone by `resume`."""
        if self.is_paused:
            return
        self.is_paused = True
        self._resumed.clear()
        _log.info("paused")
        self._background.spawn(self._dialer.hang_up(MAX_SECONDS))

    async def resume(self) -> None:
        """Dial again, with a keyset of its own: what still runs keeps the links of the old one."""
        if not self.is_paused:
            return
        self.is_paused = False
        try:
            await self._succeed()
        except BaseException:
            self.is_paused = True
            raise
        self._resumed.set()
        _log.info("resumed")

    async def _succeed(self) -> tuple[Generation, Generation]:
        """The generation before, and the one that is current now."""
        old = self.generations.current
        new = await self._born()
        self.generations.rotate(new, self._parts.clock() // 1000)
        self.publish(new)
        if not self.is_paused:
            self._dialer.start(new)
        _log.info("rotated", worker=new.worker, before=old.worker)
        return old, new

    def _make_dialer(self) -> Dialer:
        parts = self._parts
        admission = Admission(
            self._boot,
            self.generations,
            seen=Seen(),
            engine=parts.engine,
            reserve=self._reserve,
            clock=parts.clock,
        )
        service = Service(
            parts.engine,
            admission,
            credit=self._credit,
            desk=lambda gateway: self._desk(gateway)[0],
            clock=parts.clock,
            changed=self._changed.set,
        )
        office = Office(
            boot=self._boot,
            journal=parts.journal,
            clock=parts.clock,
            serve=service.serve,
            take_ack=self._take_ack,
            take_session=self._take_session,
            linked=self._on_linked,
            shown=self.till.shown,
            tell=self.notices.tell,
            clear=self.notices.clear,
        )
        settings = self._settings
        return Dialer(
            settings.gateway,
            office,
            grace_seconds=settings.grace_seconds,
            open_connector=connectors(settings.gateway_policy, clock=lambda: parts.clock() // 1000),
        )

    def _desk(self, gateway: str) -> tuple[Desk, Press]:
        """What answers towards a gateway are signed with; its counters last as long as the boot."""
        found = self._desks.get(gateway)
        if found is None:
            scribe = Scribe(boot=self._boot.id, gateway=gateway, signer=self._boot.receipt)

            def tell(settle: Settle) -> None:
                self._dialer.tell(gateway, LinkType.SETTLE, canonical.encode(settle))

            press = Press(scribe, tell)
            found = Desk(press.sign, self._parts.journal, self._parts.clock), press
            self._desks[gateway] = found
        return found

    async def _take_ack(self, gateway: str, ack: Ack) -> None:
        try:
            await self._parts.journal.dispose(gateway, ack.dispositions)
        except JournalFailed as error:
            _log.error("journal_failed", reason=error.message)  # they will be told again
            return
        await self.till.take(gateway, ack)
        for one in ack.dispositions:
            if one.disposition != "billed":
                _log.warning(
                    "not_billed",
                    statement=one.statement,
                    disposition=one.disposition,
                    code=one.code if isinstance(one.code, str) else None,
                    gateway=gateway,
                )

    def _take_session(self, start: SessionStart, peer: Peer) -> None:
        now = self._parts.clock() // 1000
        generation = self.generations.admissible(peer.worker, now)
        if generation is not None:
            peer.sessions.start(start, generation, now)

    def _on_linked(self, connection: Connection) -> None:
        for status in self._statuses:
            connection.document(LinkType.STATUS, status)
        self._changed.set()
        self.linked.set()

    async def _report(self) -> None:
        """Load of each model: when it changes, and every 2 s."""
        while True:
            self._changed.clear()
            oversee(self._parts.engine, self._parts.journal, self.notices)
            await self.till.look()
            self._reserve.look_again()
            self._statuses = await self._load()
            for status in self._statuses:
                self._dialer.tell_all(LinkType.STATUS, status)
            await asyncio.sleep(STATUS_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_SECONDS - STATUS_PAUSE_SECONDS):
                    await self._changed.wait()

    async def _load(self) -> list[bytes]:
        return [canonical.encode(await self._status(one.id)) for one in self.models]

    async def _status(self, model: str) -> WorkerStatus:
        return await load_of(
            model,
            self._parts.engine,
            self._parts.journal,
            admitted=self._credit.running,
            is_only=len(self.models) == 1,
        )

    async def _renew_offers(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            self.publish(self.generations.current)

    async def _rotate_keys(self) -> None:
        seconds = float(ROTATION_SECONDS)
        while True:
            await asyncio.sleep(seconds)
            seconds = float(ROTATION_SECONDS)
            try:
                await self.rotate()
            except BombyxError as error:
                _log.error("rotation_failed", reason=error.message)
                seconds = _RETRY_ROTATION_SECONDS

    async def _renew(self) -> None:
        """A new generation at once; what runs on the old links ends in peace."""
        old, _ = await self._succeed()
        self._background.spawn(self._dialer.retire(old, MAX_SECONDS))

    async def _watch_clock(self) -> None:
        await watch_clock(self._parts.clock, self.notices, self._renew)

    async def _retire(self, old: Generation) -> None:
        await asyncio.sleep(ADMISSIBLE_SECONDS)
        await self._dialer.retire(old, self._settings.grace_seconds)

    async def _born(self) -> Generation:
        return await _born(self._settings, self._parts, self._boot, self.models)


async def _born(
    settings: WorkerSettings, parts: Parts, boot: Boot, models: Sequence[EngineModel]
) -> Generation:
    """A generation whose keyset is in the journal before anything is signed under it."""
    generation = await new_generation(
        boot,
        parts.quoter,
        models=models,
        payout=settings.wallet,
        now=parts.clock() // 1000,
    )
    await parts.journal.keep_keyset(generation.keyset)
    return generation
