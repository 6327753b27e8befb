"""Finds, keeps and refreshes vendors' documents (SPEC 17.10).

A name is asked for once at a time, however many want it; a vendor's "no" and a vendor's silence are
remembered for a while. Strangers may name platforms, so documents that nobody has asked for before
are fetched at a bounded pace. Nothing is ever given out at or past its end.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from bombyx import canonical
from bombyx.attestation.vendor import VendorDocument, kind_of, vendor_item
from bombyx.errors import BombyxError, NotFound, Overloaded, RemoteError
from gateway.collateral.lives import next_update_of
from gateway.collateral.repository import Kept, Shelf
from gateway.collateral.vendors import Vendors

LOOK_SECONDS: Final = 60.0
"""Between two looks for what is to be refreshed."""
REFRESH_FROM, REFRESH_SPAN = 0.5, 0.25
"""A document is asked for anew after half to three quarters of its life, at a moment drawn for
each: a vendor that is down for days is no outage here, and not all come due at once."""
RETRY_SHARE: Final = 8
"""A refresh that fails is tried again after an eighth of what is left, at least a minute."""
MIN_RETRY_SECONDS: Final = 60
CLAIM_SECONDS: Final = 600
"""A process that dies while it refreshes leaves the work to others for so long."""
NEEDED_SECONDS: Final = 30 * 24 * 3600
"""What nobody asked for in a month is refreshed no more."""
ASKED_SECONDS: Final = 24 * 3600
"""That somebody asks is written down once a day."""
UNKNOWN_SECONDS: Final = 600
SILENT_SECONDS: Final = 30
"""For how long a vendor's "no" and a vendor's failure are remembered."""
MAX_REMEMBERED: Final = 2048
"""Documents and refusals in memory, each."""
MAX_BATCH: Final = 32
BURST: Final = 32
SECONDS_PER_FETCH: Final = 2.0
"""The pace at which platforms that were never asked for before are fetched. Vendors throttle."""

_log = structlog.get_logger(__name__)


class Pace:
    """Lets `BURST` through at once, and one each `SECONDS_PER_FETCH` after that."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent_until = -math.inf

    def take(self) -> None:
        """Raises `Overloaded` when it is too early."""
        now = self._now()
        start = max(self._spent_until, now - BURST * SECONDS_PER_FETCH)
        wait = start + SECONDS_PER_FETCH - now
        if wait > 0:
            raise Overloaded(
                "too many platforms were asked about that nobody asked about before",
                retry_after_ms=int(wait * 1000) + 1,
            )
        self._spent_until = start + SECONDS_PER_FETCH


class CollateralService:
    """One process's documents; `draw` gives a number from 0 to 1, `unix` seconds."""

    def __init__(
        self,
        shelf: Shelf,
        vendors: Vendors,
        *,
        unix: Callable[[], int],
        now: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self.shelf = shelf
        self._vendors = vendors
        self._unix = unix
        self._draw = draw
        self._pace = Pace(now)
        self._known: OrderedDict[str, Kept] = OrderedDict()
        self._refused: OrderedDict[str, tuple[int, BombyxError]] = OrderedDict()
        self._running: dict[str, asyncio.Task[Kept]] = {}

    async def find(self, name: str) -> Kept:
        """A live document by its name, fetched where nobody has it.

        Raises `ValueError` for no name, `NotFound`, `RemoteError` or `Overloaded`.
        """
        kind_of(name)
        known = self._live(self._known.get(name))
        if known is None:
            running = self._running.get(name)
            if running is None:
                running = asyncio.create_task(self._obtain(name), name=name)
                self._running[name] = running
                running.add_done_callback(self._ended)
            # Whoever hangs up takes nothing from the others who wait.
            known = await asyncio.shield(running)
        await self._note(known)
        return known

    async def find_digest(self, digest: str) -> Kept | None:
        """A live document by its content; nothing is fetched."""
        return self._live(await self.shelf.by_digest(digest))

    async def take(self, name: str, document: VendorDocument, *, fetched_at: int) -> Kept | None:
        """Keep a document brought by somebody; None where it has ended or is older than ours.

        Raises `ValueError` for one that does not say until when it is good.
        """
        now = self._unix()
        kept = self._kept(name, document, min(fetched_at, now))
        ours = self._live(await self.shelf.by_name(name))
        if self._live(kept) is None or (ours and ours.next_update >= kept.next_update):
            return None
        await self.shelf.put(kept)
        self._remember(kept)
        return kept

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except BombyxError as error:
                _log.warning("collateral_not_refreshed", reason=error.message)
            except Exception:  # noqa: BLE001 - a boundary: a refresher that died is never missed
                _log.exception("collateral_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh(self) -> None:
        """Ask anew for what is due, and forget what has ended."""
        now = self._unix()
        needed = now - NEEDED_SECONDS
        for kept in await self.shelf.due(now, asked_since=needed, limit=MAX_BATCH):
            if await self.shelf.claim(kept, now + CLAIM_SECONDS):
                await self._refresh(kept)
        await self.shelf.forget(now, asked_before=needed)

    async def close(self) -> None:
        """Stop what is being fetched."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._vendors.http.close()

    async def _refresh(self, kept: Kept) -> None:
        now = self._unix()
        try:
            document = await self._vendors.fetch(kept.name)
            fresh = self._checked(kept.name, document, asked_at=kept.asked_at)
        except BombyxError as error:
            wait = max((kept.next_update - now) // RETRY_SHARE, MIN_RETRY_SECONDS)
            _log.warning("collateral_not_refreshed", name=kept.name, reason=error.message)
            await self.shelf.claim(replace(kept, refresh_at=now + CLAIM_SECONDS), now + wait)
            return
        await self.shelf.put(fresh)
        self._remember(fresh)
        _log.info("collateral_refreshed", name=kept.name, until=fresh.next_update)

    async def _obtain(self, name: str) -> Kept:
        stored = self._live(await self.shelf.by_name(name))
        if stored is None:
            self._refuse_known(name)
            self._pace.take()
            try:
                stored = self._checked(name, await self._vendors.fetch(name))
            except (NotFound, RemoteError) as error:
                self._remember_refusal(name, error)
                raise
            await self.shelf.put(stored)
        self._remember(stored)
        return stored

    def _checked(self, name: str, document: VendorDocument, *, asked_at: int | None = None) -> Kept:
        """What a vendor sent, if it can be served; raises `RemoteError`."""
        now = self._unix()
        try:
            kept = self._kept(name, document, now, asked_at=asked_at)
        except ValueError as error:
            raise RemoteError(str(error)) from None
        if self._live(kept) is None:
            raise RemoteError("the vendor's own document has ended already")
        return kept

    def _kept(
        self, name: str, document: VendorDocument, fetched_at: int, *, asked_at: int | None = None
    ) -> Kept:
        now = self._unix()
        end = next_update_of(document, fetched_at=fetched_at)
        item = vendor_item(
            name, canonical.encode(document), fetched_at=fetched_at, next_update=max(end, 0)
        )
        share = REFRESH_FROM + REFRESH_SPAN * self._draw()
        return Kept(
            name=name,
            digest=item.digest,
            document=item.document.encode(),
            fetched_at=fetched_at,
            next_update=end,
            refresh_at=now + int((end - now) * share),
            asked_at=now if asked_at is None else asked_at,
        )

    def _live(self, kept: Kept | None) -> Kept | None:
        return kept if kept is not None and self._unix() < kept.next_update else None

    def _ended(self, task: asyncio.Task[Kept]) -> None:
        self._running.pop(task.get_name(), None)
        if not task.cancelled():
            task.exception()  # told to whoever waited; perhaps nobody does any more

    async def _note(self, kept: Kept) -> None:
        now = self._unix()
        if kept.asked_at < now - ASKED_SECONDS:
            await self.shelf.note_asked(kept.name, now)
            self._remember(replace(kept, asked_at=now))

    def _remember(self, kept: Kept) -> None:
        self._refused.pop(kept.name, None)
        self._known[kept.name] = kept
        self._known.move_to_end(kept.name)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def _refuse_known(self, name: str) -> None:
        until, error = self._refused.get(name, (0, None))
        if error is not None and self._unix() < until:
            raise error

    def _remember_refusal(self, name: str, error: BombyxError) -> None:
        seconds = UNKNOWN_SECONDS if isinstance(error, NotFound) else SILENT_SECONDS
        self._refused[name] = (self._unix() + seconds, error)
        self._refused.move_to_end(name)
        if len(self._refused) > MAX_REMEMBERED:
            self._refused.popitem(last=False)
