"""The other processes of this gateway: who is alive, and who is linked there (SPEC 10.5, 10.6).

The process table says who is alive; each neighbour says once a second who is linked to it. What a
worker showed is read from the database, which has it before the worker is listed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Annotated

import httpx2
import msgspec
import structlog
from msgspec import Meta

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset
from bombyx.errors import BombyxError
from bombyx.link.processes import LiveProcess
from bombyx.units import Count, Hex32
from gateway.metering.port import Processes
from gateway.metering.rows import Process
from gateway.processes.hop import HOP_HEADER, HopKey
from gateway.workers.archive import Archive
from gateway.workers.registry import Quote

LOOK_SECONDS = 1.0
"""How old what is known of neighbours may be: a goodbye is told to clients meanwhile as a 503."""
CALM_LOOKS = 5
"""While all of their workers are linked here too, they are asked once in so many looks."""
ASK_SECONDS = 2.0
REUSE_SECONDS = 0.5
"""A process that stops closes what has been idle for longer than that (`gateway.serve`)."""
LINKS = "/links"

_log = structlog.get_logger(__name__)


class LinkedWorker(msgspec.Struct, frozen=True):
    """A worker that takes requests at a neighbour, and the hashes of its live offers by model."""

    worker: Hex32
    offers: Annotated[dict[str, Hex32], Meta(max_length=256)]


class Linked(msgspec.Struct, frozen=True):
    """What a process tells its neighbours."""

    slot: int
    epoch: Count
    draining: bool
    workers: list[LinkedWorker]


@dataclass(slots=True)
class Neighbour:
    """Another live process; `workers` by id, with their offers by model."""

    row: Process
    draining: bool
    workers: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Below which it answers its neighbours: its link's URL, by HTTP."""
        return "http" + self.row.link_url.removeprefix("ws")


@dataclass(frozen=True, slots=True)
class Remote:
    """A worker as it showed itself to a neighbour, read from the archive."""

    keyset: Keyset
    evidence: Evidence
    collateral: Collateral | None


class Neighbours:
    """Looks around once a second; `unix` is the wall clock in seconds."""

    def __init__(
        self,
        store: Processes,
        archive: Archive,
        key: HopKey,
        *,
        slot: int,
        is_here: Callable[[str], bool],
        unix: Callable[[], int],
    ) -> None:
        self._store = store
        self._archive = archive
        self._key = key
        self._slot = slot
        self._is_here = is_here
        self._unix = unix
        self._remotes: dict[str, Remote] = {}
        self._quotes: dict[str, Quote] = {}
        self.http = httpx2.AsyncClient(
            trust_env=False,
            timeout=httpx2.Timeout(None, connect=ASK_SECONDS, write=30.0),
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=REUSE_SECONDS),
        )
        self._looks = 0
        self.known: dict[int, Neighbour] = {}
        """By slot."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look(calmly=True)
            except BombyxError as error:
                _log.warning("neighbours_unknown", reason=error.message)
            except Exception:  # noqa: BLE001 - a boundary: a process that goes blind is never missed
                _log.exception("neighbours_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Hang up."""
        await self.http.aclose()

    async def look(self, *, calmly: bool = False) -> None:
        """Who is alive, who is linked there (`calmly`: if that may matter); raises `StoreBusy`."""
        rows = [row for row in await self._store.processes() if row.slot != self._slot]
        self.known = {row.slot: self._renewed(row) for row in rows}
        self._looks += 1
        if not calmly or self._looks % CALM_LOOKS == 0 or any(map(self._is_news, self._all())):
            await asyncio.gather(*(self._ask(one) for one in self._all()))
            await self._read_remotes()

    def shown(self, neighbour: Neighbour, path: str) -> dict[str, str]:
        """The header for a request to a neighbour's own path."""
        row = neighbour.row
        shown = self._key.show(path, slot=row.slot, epoch=row.epoch, now=self._unix())
        return {HOP_HEADER.decode(): shown}

    def listed(self) -> list[LiveProcess]:
        """The neighbours as `GET /v1/gateways` tells of them."""
        return [
            LiveProcess(one.row.slot, one.row.epoch, one.row.link_url, one.draining)
            for one in self.known.values()
        ]

    def holding(self, workers: Collection[str]) -> list[Neighbour]:
        """Who takes requests for any of these workers; those with most of them first."""
        found = [(sum(w in one.workers for w in workers), one) for one in self._taking()]
        found = [(count, one) for count, one in found if count]
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]

    def serving(self, model: str) -> list[Neighbour]:
        """Who takes requests for a model; those with most workers for it first."""
        found = [
            (sum(model in offers for offers in one.workers.values()), one) for one in self._taking()
        ]
        found = [(count, one) for count, one in found if count]
        return [one for _, one in sorted(found, key=lambda pair: -pair[0])]

    def offers(self, now: int) -> Iterable[tuple[Remote, Quote]]:
        """Live offers of workers that are linked elsewhere and not here, each once."""
        seen: set[str] = set()
        for neighbour in self._taking():
            for worker, offers in neighbour.workers.items():
                remote = self._remotes.get(worker)
                if worker in seen or remote is None or self._is_here(worker):
                    continue
                seen.add(worker)
                for named in offers.values():
                    quote = self._quotes.get(named)
                    if quote is not None and quote.offer.valid_until > now:
                        yield remote, quote

    def _all(self) -> list[Neighbour]:
        return list(self.known.values())

    def _is_news(self, neighbour: Neighbour) -> bool:
        """Whether it was not heard yet, or has a worker that is not linked here."""
        return not (neighbour.workers and all(map(self._is_here, neighbour.workers)))

    def _taking(self) -> list[Neighbour]:
        return [one for one in self.known.values() if not one.draining]

    def _renewed(self, row: Process) -> Neighbour:
        held = self.known.get(row.slot)
        if held is None or held.row.epoch != row.epoch:
            return Neighbour(row, row.draining)
        return Neighbour(row, row.draining or held.draining, held.workers)

    async def _ask(self, neighbour: Neighbour) -> None:
        """Whom it has; one that does not answer keeps nobody."""
        headers = self.shown(neighbour, LINKS)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                answer = await self.http.get(neighbour.base + LINKS, headers=headers)
            told = msgspec.json.decode(answer.raise_for_status().content, type=Linked)
        except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.DecodeError, TimeoutError) as error:
            if neighbour.workers:
                _log.warning("neighbour_silent", slot=neighbour.row.slot, kind=type(error).__name__)
            neighbour.workers = {}
            return
        neighbour.draining = told.draining
        neighbour.workers = {one.worker: one.offers for one in told.workers}

    async def _read_remotes(self) -> None:
        """Read what is not known yet of workers that are not linked here; forget the others."""
        wanted = {
            worker: offers
            for neighbour in self.known.values()
            for worker, offers in neighbour.workers.items()
            if not self._is_here(worker)
        }
        self._remotes = {w: one for w, one in self._remotes.items() if w in wanted}
        named = {hashed for offers in wanted.values() for hashed in offers.values()}
        self._quotes = {h: one for h, one in self._quotes.items() if h in named}
        for worker, offers in wanted.items():
            with contextlib.suppress(BombyxError):
                await self._read(worker, offers.values())

    async def _read(self, worker: str, offers: Iterable[str]) -> None:
        remote = self._remotes.get(worker)
        if remote is None:
            shown = await self._archive.documents(worker)
            if shown is None:
                return
            remote = self._remotes[worker] = Remote(*shown)
        records = {record.id: record for record in remote.keyset.models}
        for named in offers:
            if named in self._quotes:
                continue
            signed = await self._archive.signed_offer(named)
            if signed is not None and signed.offer.model in records:
                self._quotes[named] = Quote.of(signed, records[signed.offer.model])
