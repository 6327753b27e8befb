"""The worker put together: what lives as long as the process, and its clockwork (SPEC 4, 6, 10).

Boot, journal, replay store and statements' counters outlive links and generations of keys. Offers
are renewed every few minutes, keys every 12 hours, both while requests run.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from bombyx import canonical
from bombyx.errors import BombyxError, JournalFailed, SetupError
from bombyx.link.documents import Ack, SessionStart, Settle, WorkerStatus
from bombyx.link.frames import LinkType
from bombyx.money.offer import Prices
from worker.admission import Admission, Peer
from worker.attest.port import Quoter
from worker.clock import Clock
from worker.engine.port import Engine, EngineModel, Load
from worker.identity import (
    ADMISSIBLE_SECONDS,
    ROTATION_SECONDS,
    Boot,
    Generation,
    Generations,
    new_generation,
)
from worker.inference.answer import Desk
from worker.inference.service import Service
from worker.ledger.credit import Credit
from worker.ledger.journal import Journal
from worker.ledger.press import Press
from worker.ledger.scribe import Scribe
from worker.link.connection import Connection
from worker.link.dialer import Dialer
from worker.link.ratls import connectors
from worker.link.tether import Office
from worker.offers import REFRESH_SECONDS
from worker.seen import Seen
from worker.settings import WorkerSettings

STATUS_SECONDS = 2.0
STATUS_PAUSE_SECONDS = 0.1
"""Between two reports of a load that changes all the time."""
_RETRY_ROTATION_SECONDS = 300.0

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the shell brings: a started engine with what it serves, the machine, the journal."""

    engine: Engine
    models: Sequence[EngineModel]
    quoter: Quoter
    journal: Journal
    clock: Clock


class Worker:
    """One worker process; `start`, then `close`."""

    def __init__(
        self, settings: WorkerSettings, parts: Parts, *, boot: Boot, first: Generation
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._boot = boot
        self.generations = Generations(first)
        self.linked = asyncio.Event()
        """Set once a gateway has listed this worker."""
        self._desks: dict[str, tuple[Desk, Press]] = {}
        self._credit = Credit(
            parts.journal.unpaid,
            limit=settings.unsecured_credit_nano,
            places=settings.slots + settings.max_waiting,
        )
        self._changed = asyncio.Event()
        self._statuses: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialer = self._make_dialer()

    @classmethod
    async def create(cls, settings: WorkerSettings, parts: Parts) -> "Worker":
        """A newborn worker; raises `AttestationError`, `SetupError` or `JournalFailed`."""
        if not settings.gateway:
            raise SetupError("name a gateway: bombyx worker --gateway https://HOST:PORT")
        boot = Boot.fresh()
        worker = cls(settings, parts, boot=boot, first=await _born(settings, parts, boot))
        worker.publish(worker.generations.current)
        return worker

    @property
    def gateways(self) -> list[str]:
        """URLs of the live links."""
        return self._dialer.live_urls

    def start(self) -> None:
        """Dial, and keep the clockwork going."""
        self._dialer.start(self.generations.current)
        for work in (self._report(), self._renew_offers(), self._rotate_keys()):
            self._spawn(work)

    async def given_up(self) -> None:
        """Return when every gateway has sent this worker away for good."""
        await self._dialer.given_up()

    async def close(self) -> None:
        """Take nothing new, let requests end within the grace, settle, hang up."""
        self._credit.is_draining = True
        await self._dialer.close(self._settings.grace_seconds)
        for _, press in self._desks.values():
            press.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

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
        old = self.generations.current
        new = await _born(self._settings, self._parts, self._boot)
        self.generations.rotate(new, self._parts.clock() // 1000)
        self.publish(new)
        self._dialer.start(new)
        self._spawn(self._retire(old))
        _log.info("rotated", worker=new.worker, before=old.worker)

    def _make_dialer(self) -> Dialer:
        parts = self._parts
        admission = Admission(
            self._boot,
            self.generations,
            seen=Seen(),
            engine=parts.engine,
            reserve=self._credit.reserve,
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
            self._statuses = await self._load()
            for status in self._statuses:
                self._dialer.tell_all(LinkType.STATUS, status)
            await asyncio.sleep(STATUS_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATUS_SECONDS - STATUS_PAUSE_SECONDS):
                    await self._changed.wait()

    async def _load(self) -> list[bytes]:
        try:
            load = await self._parts.engine.load()
        except BombyxError:
            load = Load(running=0, waiting=0, slots=0)  # it restarts, and takes nothing
        running = max(load.running, min(self._credit.running, load.slots))
        waiting = max(load.waiting, self._credit.running - load.slots, 0)
        return [
            canonical.encode(
                WorkerStatus(model=one.id, running=running, waiting=waiting, slots=load.slots)
            )
            for one in self._parts.models
        ]

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

    async def _retire(self, old: Generation) -> None:
        await asyncio.sleep(ADMISSIBLE_SECONDS)
        await self._dialer.retire(old, self._settings.grace_seconds)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _born(settings: WorkerSettings, parts: Parts, boot: Boot) -> Generation:
    """A generation whose keyset is in the journal before anything is signed under it."""
    generation = await new_generation(
        boot,
        parts.quoter,
        models=parts.models,
        payout=settings.wallet,
        now=parts.clock() // 1000,
    )
    await parts.journal.keep_keyset(generation.keyset)
    return generation
