"""Minutes of streams whose workers are killed, stopped, slow or refuse (SPEC 6, 14).

The gateway lives through it: what is held here is that a client hears of a fault only where no
worker could have answered, and that whoever answers is paid once.
"""

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.database import create_engine
from tests.chaos.audit import journalled, late_claims, open_claims, read_books
from tests.chaos.claims import dispositions, read_claims
from tests.chaos.faults import FaultLog, Hand
from tests.chaos.rules import Rule, error_table, failover_rules
from tests.chaos.site import SCRIPTED, Site, build_site
from tests.chaos.streams import Ask, Streams
from worker.clock import now_ms

LOOK_SECONDS = 0.1
BUSY_SECONDS, QUIET_SECONDS = 60.0, 120.0
BLACKOUT = "blackout"
DEEDS = {
    "kill": 30,
    "drain": 15,
    "stall": 20,
    "stall then drain": 15,
    "refuse": 10,
    "no room": 5,
    BLACKOUT: 5,
}
"""How often each, in per cent; a blackout kills all workers at once."""


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """How much of a storm; the same seed draws the same faults and prompts.

    The workers that are left in peace have room for all clients; of three candidates one is well.
    """

    seed: int = 1
    seconds: float = 600.0
    streams: int = 50
    clients: int = 88
    longest: int = 150
    """Tokens of the longest answer: with its stalls it must end well before `duration`."""
    workers: int = 4
    room: int = 60
    troubled: int = 2
    """Workers at most that something is done to at once, but for a blackout."""
    first_byte: int = 3
    first_byte_whole: int = 7
    """More than the longest whole answer takes, less than that and the longest stall."""
    duration: int = 30
    grace: int = 5
    pause: tuple[float, float] = (1.0, 6.0)

    @property
    def gateway_settings(self) -> dict[str, str]:
        """Of the gateway, by name."""
        return {
            "first_byte_stream_s": str(self.first_byte),
            "first_byte_whole_s": str(self.first_byte_whole),
            "max_duration_s": str(self.duration),
            "settlement_grace_s": str(self.grace),
            "shutdown_grace_s": "5",
        }


@dataclass(slots=True)
class FailoverReport:
    """What happened; `rules` say whether it may."""

    log: FaultLog
    asks: list[Ask]
    began: float
    rules: list[Rule] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    streaming: list[int] = field(default_factory=list)

    @property
    def broken(self) -> list[Rule]:
        """Rules that did not hold."""
        return [rule for rule in self.rules if not rule.holds]

    def document(self) -> dict[str, Any]:
        """Everything, for programs."""
        failed = [ask for ask in self.asks if ask.outcome == "error"]
        return {
            **self.counts,
            "rules": [
                {"rule": one.name, "tried": one.tried, "broken": list(one.broken)}
                for one in self.rules
            ],
            "faults": [fault.document(self.began) for fault in self.log.faults],
            "errors": [
                {
                    "at": round((ask.ended or ask.began) - self.began, 3),
                    "code": ask.code,
                    "after_first_byte": ask.first_at is not None,
                    "kind": ask.kind,
                }
                for ask in failed
            ],
        }

    def table(self) -> str:
        """The same for people, without the single faults and errors."""
        lines = [f"{name:44} {json.dumps(value)}" for name, value in self.counts.items()]
        lines += ["", f"{'rule':62} {'tried':>7}  holds"]
        for rule in self.rules:
            lines.append(f"{rule.name:62} {rule.tried:7}  {'yes' if rule.holds else 'NO'}")
            lines += [f"    {one}" for one in rule.broken[:8]]
        return "\n".join(lines) + "\n"


class Failover:
    """One network, its streams and the hand that troubles its workers."""

    def __init__(self, site: Site, plan: FailoverPlan) -> None:
        self._site = site
        self._plan = plan
        self._draw = random.Random(plan.seed)
        self._log = FaultLog()
        self._hand = Hand(self._log, self._draw)
        self._streams = Streams(site, clients=plan.clients, seed=plan.seed, longest=plan.longest)
        self._engine: AsyncEngine = create_engine(site.database_url)
        self._deeds: set[asyncio.Task[None]] = set()
        self._wrong = self._streams.wrong
        self.report = FailoverReport(self._log, self._streams.asks, time.monotonic())

    async def run(self) -> FailoverReport:
        """Start, trouble, wait, stop, judge."""
        try:
            await self._start()
            await self._trouble()
            await self._streams.stop()
            await self._quiet()
            await self._stop()
            await self._judge()
        finally:
            for deed in self._deeds:
                deed.cancel()
            await self._streams.close()
            await self._engine.dispose()
        return self.report

    async def _start(self) -> None:
        await self._site.gateway.start()
        for worker in self._site.workers:
            worker.launch()
        for worker in self._site.workers:
            await worker.await_ready()
            self._log.born(worker)
        self._streams.start()
        async with asyncio.timeout(BUSY_SECONDS):
            while self._streams.streaming < self._plan.streams:
                await self._look()
        self.report.began = time.monotonic()

    async def _look(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        self._streams.check()
        for process in self._site.processes:
            if process.name not in self._hand.held:
                process.check()
        for deed in [one for one in self._deeds if one.done()]:
            self._deeds.discard(deed)
            deed.result()

    async def _trouble(self) -> None:
        """One deed after another, at times several at once, until the time is over."""
        until = self.report.began + self._plan.seconds
        due = self.report.began + self._draw.uniform(*self._plan.pause)
        while time.monotonic() < until:
            await self._look()
            self.report.streaming.append(self._streams.streaming)
            if time.monotonic() >= due:
                self._begin_deed()
                due = time.monotonic() + self._draw.uniform(*self._plan.pause)
        while self._deeds:
            await self._look()

    def _begin_deed(self) -> None:
        (kind,) = self._draw.choices(list(DEEDS), weights=list(DEEDS.values()))
        well = [one for one in self._site.workers if one.name not in self._hand.held]
        if kind == BLACKOUT:
            victims, kind = well, "kill"
        else:
            room = self._plan.troubled - len(self._hand.held)
            victims = [self._draw.choice(well)] if room > 0 and well else []
        for victim in victims:
            self._deeds.add(asyncio.create_task(self._hand.do(kind, victim)))

    async def _quiet(self) -> None:
        """Wait until every claim is settled and every journal empty."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                while await open_claims(self._engine) or any(self._journals().values()):
                    if late := await late_claims(self._engine, now_ms()):
                        self._wrong.append(f"{late} claims are open past their deadline")
                        return
                    await self._look()
                    await asyncio.sleep(0.5)
        except TimeoutError:
            self._wrong.append(f"not quiet after {QUIET_SECONDS} s")

    def _journals(self) -> dict[str, int]:
        site = self._site
        return {
            one.name: journalled(site.journal(one), site.folder / "copies" / one.name)
            for one in site.workers
        }

    async def _stop(self) -> None:
        for process in (*self._site.workers, self._site.gateway):
            if code := await process.stop():
                self._wrong.append(f"{process.name} ended with {code}")

    async def _judge(self) -> None:
        report, plan = self.report, self._plan
        self._log.read_refusals(self._site.workers)
        claims = await read_claims(self._engine)
        books = await read_books(self._site.database_url, self._engine)
        median = statistics.median(report.streaming)
        undisposed = [f"{name}: {left}" for name, left in self._journals().items() if left]
        few = [] if median >= plan.streams else [f"the median is {median}"]
        report.rules = [
            *failover_rules(report.asks, self._log, claims=claims, books=books),
            Rule("claims are not open past their deadline, nothing hangs", 1, self._wrong),
            Rule("journals empty", len(self._site.workers), undisposed),
            Rule(f"{plan.streams} streams at once", len(report.streaming), few),
        ]
        report.counts = {
            "seconds": plan.seconds,
            "seed": plan.seed,
            "streams at once (median, most)": [median, max(report.streaming)],
            **_seen(report.asks),
            **_done(self._log, report.asks),
            "claims": dict(books.claims),
            "dispositions": dict(sorted(dispositions(claims.values()).items())),
            "attempts per claim": dict(
                sorted(Counter(len(one.attempts) for one in claims.values()).items())
            ),
            "charged nano": books.charged_nano,
            "ledger sum": books.ledger_sum,
        }


def _seen(asks: Sequence[Ask]) -> dict[str, Any]:
    """By clients."""
    renewed = [ask for ask in asks if len(ask.posts) > 1]
    return {
        "requests": dict(Counter(ask.outcome for ask in asks)),
        "sealed anew after 422, and then answered": [
            len(renewed),
            sum(ask.outcome != "error" for ask in renewed),
        ],
    }


def _done(log: FaultLog, asks: Sequence[Ask]) -> dict[str, Any]:
    """To workers and by them."""
    engine = Counter(ask.kind for ask in asks if ask.fault_at is not None)
    return {
        "faults of workers": dict(log.kinds().most_common()),
        "faults of engines": dict(engine.most_common()),
        "signed refusals": dict(Counter(one.code for one in log.refusals).most_common()),
        "errors (code, first byte, faults)": [
            [count, *row] for row, count in error_table(asks, log).most_common()
        ],
    }


async def failover_storm(folder: Path, plan: FailoverPlan) -> FailoverReport:
    """A network in `folder`, troubled; nothing of it runs afterwards."""
    site = await build_site(
        folder,
        engines=(SCRIPTED,) * plan.workers,
        settings=plan.gateway_settings,
        worker_settings={"slots": str(plan.room), "max_waiting": "0"},
    )
    try:
        return await Failover(site, plan).run()
    finally:
        site.destroy()
