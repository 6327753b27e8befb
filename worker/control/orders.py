"""What each order does to a worker, and what its owner is told of it."""

from typing import Any

from bombyx.errors import SetupError
from worker.app import Worker
from worker.control.wire import Order
from worker.ledger.journal import Journal
from worker.residents import Residents


class Orders:
    """Obeys; one for a running worker."""

    def __init__(self, worker: Worker, residents: Residents, journal: Journal) -> None:
        self._worker = worker
        self._residents = residents
        self._journal = journal

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
        worker, journal = self._worker, self._journal
        current = worker.generations.current
        return {
            "worker": current.worker,
            "platform": current.keyset.platform,
            "payout": current.keyset.payout,
            "paused": worker.is_paused,
            "gateways": worker.gateways,
            "models": [one.id for one in worker.models],
            "running": worker.running,
            "undisposed": await journal.waiting(),
            "unpaid_nano": {name: str(sum_) for name, sum_ in journal.all_unpaid().items()},
            "state": {
                "sealed_by": journal.sealed_by,
                "rollback": journal.rollback.verdict,
                "reason": journal.rollback.reason,
                "unknown_statements": journal.strangers,
            },
            "notices": worker.notices.document(),
        }
