"""The links of one keyset to all processes of one gateway, who come and go (SPEC 10.5)."""

import asyncio
import contextlib
import random
from collections.abc import Sequence

import aiohttp
import structlog

from bombyx.errors import LinkError
from bombyx.link.processes import LiveProcess, choose_processes
from worker.identity import Generation
from worker.link.ratls import reason_of
from worker.link.roster import Roster
from worker.link.tether import Office, Tether

STEADY_SECONDS = 10.0
"""How soon a new process is found."""
QUICK_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""The same after a link was lost, the last one as long as that lasts."""
RESTLESS_SECONDS = 60.0
"""Who is gone from the list may be starting again: so long it is looked for like one in it."""

_log = structlog.get_logger("worker.link")


class Fleet:
    """Keeps a tether for each process that this keyset links to."""

    def __init__(
        self, gateway: str, generation: Generation, office: Office, *, grace_seconds: float
    ) -> None:
        self.generation = generation
        self._roster = Roster(gateway, office.clock)
        self._gateway = gateway
        self._office = office
        self._grace_seconds = grace_seconds
        self._tethers: dict[str, tuple[Tether, asyncio.Task[None]]] = {}
        self._epochs: dict[str, int] = {}
        self._parting: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._turns = 0
        self._restless_until = 0.0
        self._is_over = False

    @property
    def tethers(self) -> list[Tether]:
        """By age."""
        return [tether for tether, _ in self._tethers.values()]

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Until closed, or until every process has sent this keyset away for good."""
        while not self._is_over:
            self._news.clear()
            try:
                self._follow(await self._roster.read(session), session)
                self._office.clear(self._notice)
            except (LinkError, aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = reason_of(error)
                _log.warning("list_failed", gateway=self._gateway, reason=reason)
                told = f"{self._gateway} cannot be linked to: {reason}"
                self._office.tell(self._notice, told)
            if self._tethers and all(task.done() for _, task in self._tethers.values()):
                return
            await self._pause()

    @property
    def _notice(self) -> str:
        return f"list of {self._gateway}"

    async def close(self, grace_seconds: float) -> None:
        """Close every link."""
        self._is_over = True
        self._news.set()
        tethers, self._tethers = list(self._tethers.values()), {}
        await asyncio.gather(*(_close(tether, task, grace_seconds) for tether, task in tethers))
        if self._parting:
            await asyncio.wait(self._parting)

    def _follow(self, listed: Sequence[LiveProcess], session: aiohttp.ClientSession) -> None:
        """Dial who is new, part from whom this keyset should no longer be linked to."""
        if self._is_over:
            return
        chosen = choose_processes(self.generation.worker, listed)
        for one in chosen:
            held = self._tethers.get(one.link_url)
            if held is None:
                self._dial(one.link_url, session)
            elif self._epochs.get(one.link_url) != one.epoch and held[0].connection is None:
                held[0].hurry()
            self._epochs[one.link_url] = one.epoch
        wanted = {one.link_url for one in chosen}
        leaving = {one.link_url for one in listed if one.draining}
        known = {one.link_url for one in listed}
        for url in [url for url in self._tethers if url not in wanted | leaving]:
            # A link that works outlives its line in the list: a database may be away for a while.
            if url in known or self._tethers[url][0].connection is None:
                self._part(url)

    def _dial(self, url: str, session: aiohttp.ClientSession) -> None:
        tether = Tether(url, self.generation, self._office, unlinked=self._hear)
        task = asyncio.create_task(tether.run(session))
        task.add_done_callback(lambda _: self._news.set())
        self._tethers[url] = tether, task

    def _part(self, url: str) -> None:
        tether, task = self._tethers.pop(url)
        parting = asyncio.create_task(_close(tether, task, self._grace_seconds))
        self._parting.add(parting)
        parting.add_done_callback(self._parting.discard)

    def _hear(self) -> None:
        """A link was lost, refused or sent away: look at the list soon."""
        now = asyncio.get_running_loop().time()
        if self._restless_until < now:
            self._turns = 0
        self._restless_until = now + RESTLESS_SECONDS
        if self._turns < len(QUICK_SECONDS):  # else it is looked at often enough
            self._news.set()

    def _is_well(self) -> bool:
        """Whether nothing is to be looked for: all are linked, or sent away for good."""
        if not self._tethers or asyncio.get_running_loop().time() < self._restless_until:
            return False
        return all(
            task.done() or tether.connection is not None for tether, task in self._tethers.values()
        )

    async def _pause(self) -> None:
        """Longer when all is well; jitter keeps a fleet from asking all at once."""
        if self._roster.is_fixed or self._is_well():
            seconds = STEADY_SECONDS
        else:
            seconds = QUICK_SECONDS[min(self._turns, len(QUICK_SECONDS) - 1)]
            self._turns += 1
        seconds *= 0.5 + random.random() / 2  # noqa: S311 - nothing secret hangs on it
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()


async def _close(tether: Tether, task: "asyncio.Task[None]", grace_seconds: float) -> None:
    await tether.close(grace_seconds)
    task.cancel()
    await asyncio.wait({task})
