"""What each order does to a worker, and what its owner is told of it."""

from importlib.metadata import version
from typing import Any

import msgspec

from bombyx.control.document import Link, Notice, OfferDocument, WorkerDocument
from bombyx.control.wire import Order
from bombyx.errors import SetupError
from worker.app import Worker
from worker.clock import Clock, now_ms
from worker.ledger.journal import Journal
from worker.residents import Residents
from worker.settings import WorkerSettings


class Orders:
    """Obeys; one for a running worker."""

    def __init__(
        self,
        worker: Worker,
        residents: Residents,
        journal: Journal,
        *,
        settings: WorkerSettings,
        clock: Clock = now_ms,
    ) -> None:
        self._worker = worker
        self._residents = residents
        self._journal = journal
        self._settings = settings
        self._clock = clock

    async def obey(self, order: Order) -> dict[str, Any]:
        """Raises `BombyxError` with a sentence for whoever ordered."""
        if order.do == "pause":
            await self._worker.pause()
        elif order.do == "resume":
            await self._worker.resume()
        elif order.do == "load":
            await self._residents.load(order.model, self._worker.serve_models)
        elif order.do == "unload":
            await self._residents.unload(order.model, self._worker.serve_models)
        elif order.do != "status":
            raise SetupError("the orders are status, pause, resume, load and unload")
        return await self.status()

    async def status(self) -> dict[str, Any]:
        """The worker as it is; no content, and nothing of any request."""
        told: dict[str, Any] = msgspec.to_builtins(await self.document())
        return told

    async def document(self) -> WorkerDocument:
        """The same as a value; its meaning is in `bombyx.control.document`."""
        worker, journal, settings = self._worker, self._journal, self._settings
        current, now = worker.generations.current, self._clock()
        return WorkerDocument(
            version=version("bombyx"),
            at=now // 1000,
            worker=current.worker,
            platform=current.keyset.platform,
            payout=current.keyset.payout,
            not_after=current.keyset.not_after,
            paused=worker.is_paused,
            origins=list(settings.gateway),
            gateways=worker.gateways,
            links=_links(worker),
            models=[one.id for one in worker.models],
            offers=_offers(worker),
            slots=settings.slots,
            running=worker.running,
            undisposed=await journal.waiting(),
            unpaid_nano={name: str(sum_) for name, sum_ in journal.all_unpaid().items()},
            state={
                "sealed_by": journal.sealed_by,
                "rollback": journal.rollback.verdict,
                "reason": journal.rollback.reason,
                "unknown_statements": journal.strangers,
            },
            notices=msgspec.convert(worker.notices.document(), list[Notice]),
            hours=journal.hours.by_hour(at=now),
            days=journal.hours.by_day(),
        )


def _links(worker: Worker) -> list[Link]:
    """Those of the newest keyset."""
    newest = worker.generations.current
    return [
        Link(one.url, "" if one.connection is None else one.connection.peer.gateway)
        for one in worker.tethers
        if one.generation is newest
    ]


def _offers(worker: Worker) -> list[OfferDocument]:
    return [
        OfferDocument(
            model=one.offer.model,
            prices=msgspec.to_builtins(one.offer.prices),
            valid_until=one.offer.valid_until,
            max_concurrency=one.offer.max_concurrency,
        )
        for one in worker.generations.current.offers.published
    ]
