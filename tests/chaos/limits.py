"""Limits of keys under 200 clients on three gateway processes, through faults (SPEC 5.7).

Four keys, each with one kind of limit, are flooded while a process is killed, another stopped and
set going again, and the database crashes. Nothing of that may let more through than the limits say.
Before it, the same load measures what limits cost that nobody reaches.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.accounts.repository import Accounts
from gateway.database import create_engine
from gateway.metering.rows import KeyLimits
from tests.chaos.audit import open_claims, read_books, uneven
from tests.chaos.served import most_at_once, served
from tests.chaos.site import SCRIPTED, Site, build_site
from tests.chaos.storm import deadlines

MINUTE_MS = 60_000
QUIET_SECONDS = 120.0
PAUSE_SECONDS = 0.1
STOPPED_SECONDS = 22.0
"""Longer than a process's row lives and is waited for: its leases are taken while it stands."""
LEAST_SHARE = 0.7
LEAST_REACHED = 0.6
"""Of what is allowed in as long as the flood takes: below it nothing was held against anything.
What a killed process had on loan is lost for the minute."""
REFUSED = {"requests": "429", "tokens": "429", "slots": "429", "nano": "429"}
"""How a key hears that it has reached its limit."""


@dataclass(frozen=True, slots=True)
class LimitsPlan:
    """How long and how hard; limits are of one key each."""

    seconds: float = 100.0
    clients: int = 200
    processes: int = 3
    rounds: int = 3
    round_seconds: float = 8.0
    requests: int = 900
    tokens: int = 6_000
    slots: int = 10
    nano: int = 150_000
    duration: int = 8
    grace: int = 4


@dataclass(slots=True)
class Key:
    """A key, its limits, and what its clients saw."""

    name: str
    id: str
    secret: str
    limits: KeyLimits | None
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class LimitsReport:
    """What was let through, against what was allowed."""

    unlimited_per_second: float = 0.0
    limited_per_second: float = 0.0
    share: float = 0.0
    faults: list[str] = field(default_factory=list)
    allowed: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For people and for JSON."""
        return asdict(self)


class LimitsStorm:
    """One network of several processes; `crash` restarts the database the hard way."""

    def __init__(self, site: Site, plan: LimitsPlan, crash: Callable[[], None]) -> None:
        self._site = site
        self._plan = plan
        self._crash = crash
        self._engine: AsyncEngine = create_engine(site.database_url)
        self.report = LimitsReport()

    async def run(self) -> LimitsReport:
        """Start, compare, flood with faults, wait, count."""
        try:
            await self._start()
            await self._compare()
            keys = [
                await self._key("requests", KeyLimits(requests=self._plan.requests)),
                await self._key("tokens", KeyLimits(tokens=self._plan.tokens)),
                await self._key("slots", KeyLimits(slots=self._plan.slots)),
                await self._key("nano", KeyLimits(nano=self._plan.nano)),
            ]
            first = await self._now_ms()
            await asyncio.gather(self._flood(keys, self._plan.seconds), self._break())
            await self._count(keys, first, await self._now_ms())
        finally:
            await self._engine.dispose()
        return self.report

    async def _start(self) -> None:
        await self._site.gateway.start()
        for worker in self._site.workers:
            worker.launch()
        for worker in self._site.workers:
            await worker.await_ready()
        await asyncio.sleep(2)  # links to the other processes

    async def _key(self, name: str, limits: KeyLimits | None) -> Key:
        record, key = await Accounts(self._engine).create_key(
            self._site.account, name=name, limits=limits
        )
        return Key(name, record.id, key.secret, limits)

    # --- What limits cost ---

    async def _compare(self) -> None:
        """Take turns, so that whatever else the machine does meets both."""
        free = await self._key("free", None)
        ample = KeyLimits(requests=10**6, tokens=10**9, slots=10**4, nano=10**12)
        bound = await self._key("ample", ample)
        await self._flood([free, bound], 2.0)
        rates: dict[str, list[float]] = {free.name: [], bound.name: []}
        for _ in range(self._plan.rounds):
            for key in (free, bound):
                key.statuses.clear()
                await self._flood([key], self._plan.round_seconds)
                rates[key.name].append(key.statuses["200"] / self._plan.round_seconds)
                refused = {code for code in key.statuses if code != "200"}
                if refused:
                    self.report.broken.append(f"{key.name} saw {sorted(refused)}")
        report = self.report
        report.unlimited_per_second = round(median(rates[free.name]), 1)
        report.limited_per_second = round(median(rates[bound.name]), 1)
        report.share = round(report.limited_per_second / (report.unlimited_per_second or 1), 3)
        if report.share < LEAST_SHARE:
            report.broken.append(f"limits leave {report.share} of the throughput")

    # --- The flood ---

    async def _flood(self, keys: list[Key], seconds: float) -> None:
        """All clients, shared out over the keys."""
        until = time.monotonic() + seconds
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=timeout
        ) as session:
            await asyncio.gather(
                *(
                    self._ask_on(session, keys[number % len(keys)], until)
                    for number in range(self._plan.clients)
                )
            )

    async def _ask_on(self, session: aiohttp.ClientSession, key: Key, until: float) -> None:
        # Answers that last let slots overlap; the others are as short as can be.
        content = "pace: 20\ncount: 10" if key.name == "slots" else "say: x"
        body = {
            "model": SCRIPTED,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 20,
        }
        headers = {"authorization": f"Bearer {key.secret}"}
        url = f"{self._site.url}/v1/chat/completions"
        while time.monotonic() < until:
            try:
                async with session.post(url, json=body, headers=headers) as answer:
                    await answer.read()
                    status = str(answer.status)
            except (aiohttp.ClientError, TimeoutError, OSError):
                status = "(no connection)"
            key.statuses[status] += 1
            if status != "200":
                await asyncio.sleep(PAUSE_SECONDS)

    async def _break(self) -> None:
        """A kill, a stop, a crash of the database, within the flood."""
        step = self._plan.seconds / 6
        await asyncio.sleep(step)
        self._signal(1, signal.SIGKILL, "killed the process of slot 1")
        await asyncio.sleep(step)
        self._signal(2, signal.SIGSTOP, "stopped the process of slot 2")
        await asyncio.sleep(STOPPED_SECONDS)
        self._signal(2, signal.SIGCONT, "let it go on")
        await asyncio.sleep(step)
        self.report.faults.append("crashed and restarted the database")
        await asyncio.to_thread(self._crash)

    def _signal(self, slot: int, number: signal.Signals, told: str) -> None:
        processes = self._site.gateway.ready["processes"]
        pid = next(int(one["pid"]) for one in processes if one["slot"] == slot)
        os.kill(pid, number)
        self.report.faults.append(told)

    # --- The count ---

    async def _count(self, keys: list[Key], first_ms: int, last_ms: int) -> None:
        """Against as many whole minutes of the database's clock as the flood touched."""
        await self._quiet()
        minutes = last_ms // MINUTE_MS - first_ms // MINUTE_MS + 1
        plan, report = self._plan, self.report
        report.allowed = {
            "requests": plan.requests * minutes,
            "tokens": plan.tokens * minutes,
            "slots": plan.slots,
            "nano": plan.nano,
        }
        report.used = {
            "requests": await self._number("SELECT count(*) FROM claim WHERE key = :key", keys[0]),
            "tokens": await self._number(
                "SELECT sum(prompt + completion) FROM usage_day WHERE key = :key", keys[1]
            ),
            "slots": await self._at_once(keys[2]),
            "nano": await self._number(
                "SELECT sum(charge_nano) FROM usage_day WHERE key = :key", keys[3]
            ),
        }
        share = plan.seconds * 1000 / MINUTE_MS
        due = report.allowed | {
            "requests": plan.requests * share,
            "tokens": plan.tokens * share,
        }
        report.statuses = {key.name: dict(key.statuses.most_common()) for key in keys}
        for name, used in report.used.items():
            if used > report.allowed[name]:
                report.broken.append(f"{name}: {used} of {report.allowed[name]}")
            least = int(LEAST_REACHED * due[name])
            if used < least:
                report.broken.append(f"{name}: only {used} came through, {least} at least should")
            if not report.statuses[name].get(REFUSED[name]):
                report.broken.append(f"{name}: nobody was refused")
        await self._examine()

    async def _quiet(self) -> None:
        async with asyncio.timeout(QUIET_SECONDS):
            while await open_claims(self._engine):
                await asyncio.sleep(0.5)

    async def _at_once(self, key: Key) -> int:
        query = text("SELECT id FROM claim WHERE key = :key")
        async with self._engine.connect() as connection:
            ids = {row[0] for row in await connection.execute(query, {"key": key.id})}
        logs = [worker.log for worker in self._site.workers]
        return most_at_once(one for log in logs for one in served(log) if one.id in ids)

    async def _examine(self) -> None:
        books = await read_books(self._site.database_url, self._engine)
        report = self.report
        report.broken += [f"uneven: {what}" for what in await uneven(self._engine)]
        if books.billed_twice or books.charged_twice or books.unpaid_bills:
            report.broken.append("a claim was billed twice or without a receipt")
        code = await self._site.gateway.stop()
        if code:
            report.broken.append(f"the gateway ended with {code}")

    async def _number(self, query: str, key: Key) -> int:
        async with self._engine.connect() as connection:
            found = await connection.execute(text(query), {"key": key.id})
            return int(found.scalar_one() or 0)

    async def _now_ms(self) -> int:
        query = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
        async with self._engine.connect() as connection:
            return int((await connection.execute(text(query))).scalar_one())


async def limits_storm(
    folder: Path, plan: LimitsPlan, *, database_url: str, crash: Callable[[], None]
) -> LimitsReport:
    """A network in `folder`, flooded; nothing of it runs afterwards."""
    site = await build_site(
        folder,
        database_url=database_url,
        settings=deadlines(plan.duration, plan.grace),
        worker_settings={"slots": "256"},
        processes=plan.processes,
    )
    try:
        return await LimitsStorm(site, plan, crash).run()
    finally:
        site.destroy()
