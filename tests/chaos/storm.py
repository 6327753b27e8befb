"""Killing the processes of a busy network at random, then waiting until all is quiet (SPEC 6.9)."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.database import create_engine
from tests.chaos.audit import (
    Books,
    disposition_of,
    journalled,
    late_claims,
    open_claims,
    read_books,
    uneven,
)
from tests.chaos.load import Load, Tally
from tests.chaos.processes import Process
from tests.chaos.site import LLAMA, SCRIPTED, Site, build_site
from worker.clock import now_ms

BUSY_SECONDS = 90.0
"""For the load to come back after a kill."""
QUIET_SECONDS = 90.0
GATEWAY, WORKER, ENGINE = "gateway", "worker", "engine"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of a storm; the same seed draws the same victims and prompts.

    A claim ends `duration` + `grace` seconds after its dispatch, so that a storm can be waited out.
    """

    seed: int
    kills: int
    requests: int
    streams: int = 8
    clients: int = 14
    engines: tuple[str, ...] = (SCRIPTED, SCRIPTED, LLAMA)
    database_url: str | None = None
    duration: int = 8
    grace: int = 4


def deadlines(duration: int, grace: int) -> dict[str, str]:
    """A gateway's settings for these seconds."""
    return {
        "max_duration_s": str(duration),
        "settlement_grace_s": str(grace),
        "shutdown_grace_s": "5",
    }


@dataclass(slots=True)
class Report:
    """What happened."""

    tally: Tally
    kills: Counter[str] = field(default_factory=Counter)
    between: Counter[str] = field(default_factory=Counter)
    """Kills while the victim had claims that were open."""
    least_streams: int = 10**9
    books: Books | None = None
    journals: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    verified: Counter[str] = field(default_factory=Counter)
    """Dispositions of the receipts that clients verified."""

    def document(self) -> dict[str, Any]:
        """For people and for assertions."""
        tally, books = self.tally, self.books
        return {
            "requests": tally.requests,
            "complete": tally.complete,
            "left by the client": tally.left,
            "errors": dict(tally.errors.most_common()),
            "wrong": tally.wrong,
            "kills": dict(self.kills),
            "kills between claim and settle": dict(self.between),
            "streams at a kill, at least": self.least_streams,
            "claims": dict(books.claims) if books else {},
            "dispositions": dict(sorted(books.dispositions.items())) if books else {},
            "verified by clients": dict(self.verified),
            "charges": books.charges if books else 0,
            "charged nano": books.charged_nano if books else 0,
            "journals": self.journals,
            "exits": self.exits,
        }


class Storm:
    """One network, its load and its killer."""

    def __init__(self, site: Site, plan: Plan) -> None:
        self._site = site
        self._plan = plan
        self._draw = random.Random(plan.seed)
        self._load = Load(site, clients=plan.clients, seed=plan.seed, models=plan.engines)
        self._engine: AsyncEngine = create_engine(site.database_url)
        self.report = Report(self._load.tally)

    async def run(self) -> Report:
        """Start, kill, wait, stop, read the books."""
        try:
            await self._start()
            self._load.start()
            while sum(self.report.kills.values()) < self._plan.kills:
                await self._busy()
                await self._kill_one()
            while self._load.tally.requests < self._plan.requests:
                await self._look()
            await self._load.stop()
            await self._quiet()
            await self._stop()
            await self._examine()
        finally:
            self._load.cancel()
            await self._engine.dispose()
        return self.report

    async def _start(self) -> None:
        await self._site.gateway.start()
        for worker in self._site.workers:
            worker.launch()
        for worker in self._site.workers:
            await worker.await_ready()

    async def _look(self) -> None:
        await asyncio.sleep(0.05)
        self._load.check()
        for process in self._site.processes:
            process.check()

    async def _busy(self) -> None:
        """Wait until enough streams run, then until some moment of which nobody knows."""
        async with asyncio.timeout(BUSY_SECONDS):
            while len(self._load.tally.streaming) < self._plan.streams:
                await self._look()
            await asyncio.sleep(self._draw.random())
            while len(self._load.tally.streaming) < self._plan.streams:
                await self._look()

    async def _kill_one(self) -> None:
        kinds = [GATEWAY, WORKER, ENGINE if LLAMA in self._plan.engines else WORKER]
        (kind,) = self._draw.choices(kinds, weights=[35, 50, 15])
        victim = self._victim(kind)
        engine_pid = _child(victim) if kind == ENGINE else 0
        if kind == ENGINE and not engine_pid:
            return
        winner = None if kind == GATEWAY else str(victim.ready["worker"])
        held = await open_claims(self._engine, winner=winner)
        streams = len(self._load.tally.streaming)
        if streams < self._plan.streams:
            return
        if kind == ENGINE:
            psutil.Process(engine_pid).kill()
        else:
            victim.kill()
        self._note(kind, held, streams)
        for what in await uneven(self._engine):
            self.report.tally.wrong.append(f"uneven after a kill: {what}")
        if kind != ENGINE:
            await asyncio.sleep(self._draw.random() * 0.5)
            await victim.start()

    def _victim(self, kind: str) -> Process:
        if kind == GATEWAY:
            return self._site.gateway
        if kind == ENGINE:
            return self._site.workers[self._plan.engines.index(LLAMA)]
        return self._draw.choice(self._site.workers)

    def _note(self, kind: str, held: int, streams: int) -> None:
        report = self.report
        report.kills[kind] += 1
        report.between[kind] += held > 0
        report.least_streams = min(report.least_streams, streams)

    async def _quiet(self) -> None:
        """Wait until every claim is settled and every journal empty."""
        wrong = self.report.tally.wrong
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while await open_claims(self._engine) or any(self._journals().values()):
                    if await late_claims(self._engine, now_ms()):
                        wrong.append("a claim is open past its deadline")
                        return
                    await self._look()
                    await asyncio.sleep(0.5)
        except TimeoutError:
            wrong.append(f"not quiet after {QUIET_SECONDS} s")

    def _journals(self) -> dict[str, int]:
        site = self._site
        return {
            one.name: journalled(site.journal(one), site.folder / "copies" / one.name)
            for one in site.workers
        }

    async def _stop(self) -> None:
        for process in (*self._site.workers, self._site.gateway):
            self.report.exits[process.name] = await process.stop()

    async def _examine(self) -> None:
        report = self.report
        report.journals = self._journals()
        report.books = await read_books(self._site.database_url, self._engine)
        for answer in report.tally.receipts:
            found = await disposition_of(self._engine, answer.receipt_hash)
            report.verified[str(found)] += 1


def _child(worker: Process) -> int:
    """The engine's process id; 0 while it has none."""
    children = psutil.Process(worker.pid).children()
    return children[0].pid if children else 0


async def storm(folder: Path, plan: Plan) -> Report:
    """A network in `folder`, stormed; nothing of it runs afterwards."""
    site = await build_site(
        folder,
        database_url=plan.database_url,
        engines=plan.engines,
        settings=deadlines(plan.duration, plan.grace),
    )
    try:
        return await Storm(site, plan).run()
    finally:
        site.destroy()


def complaints(report: Report, plan: Plan) -> list[str]:
    """Every rule that the storm broke."""
    books, tally = report.books, report.tally
    if books is None:
        return ["the books were not read"]
    held = {
        "clients saw what must never be": not tally.wrong,
        "too few requests": tally.requests >= plan.requests,
        "the ledger does not sum to 0": books.ledger_sum == 0,
        "charges are not those of billed receipts": books.billing_gap == 0,
        "posted is not the sum of entries": not books.unposted,
        "more was lent than there is": not books.overcommitted,
        "a claim is still open": not books.claims["open"],
        "a claim was billed twice": not (books.billed_twice or books.charged_twice),
        "a claim was charged without its receipt": not books.unpaid_bills,
        "a journal is not empty": not any(report.journals.values()),
        "a receipt that a client verified has no fair disposition": set(report.verified)
        <= {"billed", "expired"},
        "a process did not stop well": not any(report.exits.values()),
        "too few streams ran at a kill": report.least_streams >= plan.streams,
    }
    return [complaint for complaint, is_held in held.items() if not is_held]
