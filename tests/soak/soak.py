"""A network whose worker loses its link every few seconds, for as long as one likes (SPEC 10.3)."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.database import create_engine
from tests.chaos.audit import Books, journalled, open_claims, read_books
from tests.chaos.load import Load, Tally
from tests.chaos.processes import free_port
from tests.chaos.site import SCRIPTED, Site, build_site
from tests.chaos.storm import deadlines
from tests.soak.growth import Growth, Sample, growth, look
from tests.soak.wire import Wire

QUIET_SECONDS = 60.0
DURATION_SECONDS, GRACE_SECONDS = 20, 10
"""Of claims: the longest stream of the load takes 8 s."""
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """How long, how often the link is cut, by how many clients it is used; seconds."""

    seconds: float
    cut_every: float = 5.0
    clients: int = 6
    seed: int = 1
    look_every: float = _LOOK_SECONDS


@dataclass(slots=True)
class SoakReport:
    """What happened."""

    tally: Tally
    plan: SoakPlan
    cuts: int = 0
    links: int = 0
    grown: dict[str, Growth] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    books: Books | None = None
    journal: int = -1
    not_billed: int = 0
    """Final words other than `billed` that the worker logged."""
    log_kinds: Counter[str] = field(default_factory=Counter)
    exits: list[int] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """Every rule that did not hold."""
        found = [one for name, grown in self.grown.items() for one in grown.complaints(name)]
        found += self.tally.wrong
        books = self.books
        if books is None:
            return [*found, "the books were not read"]
        others = {name: count for name, count in books.dispositions.items() if "billed" not in name}
        # Nothing of these had reached the gateway when the link was cut: by SPEC 5 and 16 the
        # request has failed at no charge, and nobody owes for it.
        unheard = self.tally.errors["link_lost"] + self.tally.errors["outcome"]
        lost = others.pop("superseded aborted", 0) + others.pop("superseded final", 0)
        held = {
            f"statements that were not billed: {others}": not others,
            f"{lost} statements superseded, {unheard} requests unheard": lost <= unheard,
            "the ledger does not come out even": books.ledger_sum == books.billing_gap == 0,
            "a claim was billed twice": not (books.billed_twice or books.charged_twice),
            "a claim is still open": not books.claims["open"],
            "a claim was charged without its receipt": not books.unpaid_bills,
            "the journal is not empty": self.journal == 0,
            "the worker was told of more statements that are not billed": self.not_billed
            <= 2 * lost,
            "no link was ever cut": self.cuts > 0,
            "nothing was answered": self.tally.complete > 0,
            "a process did not stop well": not any(self.exits),
        }
        return found + [what for what, is_held in held.items() if not is_held]

    def document(self) -> dict[str, Any]:
        """For people."""
        books, tally = self.books, self.tally
        return {
            "seconds": self.plan.seconds,
            "cuts": self.cuts,
            "connections over the wire": self.links,
            "requests": tally.requests,
            "complete": tally.complete,
            "errors": dict(tally.errors.most_common()),
            "claims": dict(books.claims) if books else {},
            "dispositions": dict(sorted(books.dispositions.items())) if books else {},
            "charged nano": books.charged_nano if books else 0,
            "left in the journal": self.journal,
            "worker's log": dict(self.log_kinds.most_common()),
            **{
                f"{name}, resident MiB": [
                    round(one.rss_early / 2**20, 1),
                    round(one.rss_late / 2**20, 1),
                    f"{one.rss_ratio:+.2%}",
                ]
                for name, one in self.grown.items()
            },
            **{
                f"{name}, descriptors": [one.descriptors_early, one.descriptors_late]
                for name, one in self.grown.items()
            },
            "rules that did not hold": self.complaints(),
        }


async def soak(folder: Path, plan: SoakPlan) -> SoakReport:
    """A network in `folder`; nothing of it runs afterwards."""
    listens_at = free_port()
    link_url = f"ws://127.0.0.1:{listens_at}/v1/workers/link/{{slot}}"
    # A gateway keeps a request to its deadline, and a sealed answer for five minutes for whoever
    # asks again, up to so many bytes: both short, else a run of minutes sees only that fill up.
    settings = {
        "link_url": link_url,
        "kept_answers_mb": "1",
        **deadlines(DURATION_SECONDS, GRACE_SECONDS),
    }
    site = await build_site(folder, engines=(SCRIPTED,), settings=settings)
    worker, wire = site.workers[0], Wire(int(site.url.rpartition(":")[2]))
    over = [
        f"http://127.0.0.1:{listens_at}" if one == site.url else one for one in worker.arguments
    ]
    worker.arguments = over
    engine = create_engine(site.database_url)
    load = Load(site, clients=plan.clients, seed=plan.seed, models=(SCRIPTED,))
    report = SoakReport(load.tally, plan)
    try:
        await wire.start(listens_at)
        await site.gateway.start()
        await worker.start()
        load.start()
        await _cut_on(site, wire, load, report)
        await load.stop()
        await _quiet(site, engine, report)
        report.exits = [await one.stop() for one in (worker, site.gateway)]
        report.books = await read_books(site.database_url, engine)
        report.journal = _journalled(site)
        _read_log(worker.log, report)
    finally:
        load.cancel()
        await engine.dispose()
        await wire.stop()
        site.destroy()
    report.cuts, report.links = wire.cuts - 1, wire.connections
    report.grown = {name: growth(samples) for name, samples in report.samples.items()}
    return report


async def _cut_on(site: Site, wire: Wire, load: Load, report: SoakReport) -> None:
    loop, plan = asyncio.get_running_loop(), report.plan
    ends = loop.time() + plan.seconds
    next_cut = loop.time() + plan.cut_every
    while loop.time() < ends:
        await asyncio.sleep(plan.look_every)
        load.check()
        for process in site.processes:
            process.check()
            report.samples.setdefault(process.name, []).append(look(process.pid))
        if loop.time() >= next_cut:
            wire.cut()
            next_cut += plan.cut_every


async def _quiet(site: Site, engine: AsyncEngine, report: SoakReport) -> None:
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            while await open_claims(engine) or _journalled(site):
                await asyncio.sleep(0.2)
    except TimeoutError:
        report.tally.wrong.append(f"not quiet after {QUIET_SECONDS} s")


def _journalled(site: Site) -> int:
    return journalled(site.journal(site.workers[0]), site.folder / "copies")


def _read_log(path: Path, report: SoakReport) -> None:
    for line in _lines(path):
        event = str(line.get("event"))
        report.log_kinds[event] += 1
        report.not_billed += event == "not_billed"


def _lines(path: Path) -> Sequence[dict[str, Any]]:
    texts = path.read_text(errors="replace").splitlines()
    return [json.loads(one) for one in texts if one.startswith("{")]
