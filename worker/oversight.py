"""What is wrong beside the links: journal, rollback, engines, the clock."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bombyx.errors import BombyxError
from worker.clock import Clock, ClockWatch
from worker.engine.port import Engine
from worker.engine.several import Several
from worker.ledger.journal import Journal
from worker.notices import Notices

JOURNAL, ROLLBACK, CLOCK = "journal", "rollback", "clock"
"""Names of notices."""
CLOCK_SECONDS = 5.0
"""Between two looks at the clock."""
CLOCK_TOLD_SECONDS = 3600.0
"""How long the owner is told that the clock was set: with new keys it is over, but worth a look."""

_log = structlog.get_logger("worker")


def oversee(engine: Engine, journal: Journal, notices: Notices) -> None:
    """Tell what is wrong, take back what no longer is, and keep what was counted."""
    if journal.trouble is not None:
        journal.probe()
    journal.remember_hours()
    found: dict[str, str | None] = {JOURNAL: journal.trouble, ROLLBACK: _rollback(journal)}
    if isinstance(engine, Several):
        for model, sentence in engine.troubles().items():
            found[f"engine of {model}"] = sentence
    for name, sentence in found.items():
        if sentence is None:
            notices.clear(name)
        else:
            notices.tell(name, sentence)


def _rollback(journal: Journal) -> str | None:
    if journal.rollback.verdict == "noticed":
        return journal.rollback.reason
    if not journal.strangers:
        return None
    return (
        f"gateways speak of {journal.strangers} statements that this journal never held: it may "
        "be an old copy"
    )


async def watch_clock(clock: Clock, notices: Notices, renew: Callable[[], Awaitable[None]]) -> None:
    """A clock that was set leaves wrong times in keyset and offers: `renew` makes them anew.

    Where it was set wrong, gateways refuse the new keyset, and the link's notice says so.
    """
    loop = asyncio.get_running_loop()
    watch, told_until = ClockWatch(clock(), loop.time()), 0.0
    while True:
        await asyncio.sleep(CLOCK_SECONDS)
        seconds = watch.jump(clock(), loop.time())
        if seconds is None:
            if loop.time() >= told_until:
                notices.clear(CLOCK)
            continue
        told_until = loop.time() + CLOCK_TOLD_SECONDS
        which = "ahead" if seconds > 0 else "back"
        notices.tell(CLOCK, f"the clock was set {abs(seconds):.0f} s {which}: the keys are new")
        _log.error("clock_set", seconds=round(seconds))
        try:
            await renew()
        except BombyxError as error:
            _log.error("rotation_failed", reason=error.message)
