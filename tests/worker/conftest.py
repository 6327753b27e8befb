"""Real workers beside a real gateway peer; the engine is scripted, the machine simulated."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.simulated import image_measurement
from tests.worker.peer import GatewayPeer, unix
from worker.app import Parts, Worker
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import SimulatedRoot
from worker.clock import Clock, now_ms
from worker.engine.port import Engine
from worker.engine.scripted import ScriptedEngine
from worker.ledger.journal import Journal
from worker.settings import WorkerSettings


class StartWorker:
    """Starts workers, one after the other on the same journal."""

    def __init__(self, gateway: GatewayPeer, quoter: SimulatedQuoter, folder: Path) -> None:
        self._gateway = gateway
        self._quoter = quoter
        self._folder = folder
        self._running: dict[Worker, Journal] = {}

    async def __call__(
        self, *, engine: Engine | None = None, clock: Clock = now_ms, **changes: Any
    ) -> Worker:
        given = {"gateway": (self._gateway.url,), "grace_seconds": 1, **changes}
        engine = engine or ScriptedEngine()
        journal = await Journal.open(self._folder / "journal.db")
        parts = Parts(engine, engine.models(), self._quoter, journal, clock)
        worker = await Worker.create(WorkerSettings(**given), parts)
        self._running[worker] = journal
        worker.start()
        return worker

    async def stop(self, worker: Worker) -> None:
        journal = self._running.pop(worker)
        await worker.close()
        await journal.close()

    async def stop_all(self) -> None:
        for worker in list(self._running):
            await self.stop(worker)


@pytest.fixture(scope="session")
def root() -> SimulatedRoot:
    return SimulatedRoot.create(now=unix())


@pytest.fixture
def quoter(root: SimulatedRoot) -> SimulatedQuoter:
    return SimulatedQuoter(root, image=image_measurement("test"), clock=unix)


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayPeer]:
    peer = GatewayPeer()
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
async def start_worker(
    gateway: GatewayPeer, quoter: SimulatedQuoter, tmp_path: Path
) -> AsyncIterator[StartWorker]:
    start = StartWorker(gateway, quoter, tmp_path)
    yield start
    await start.stop_all()
