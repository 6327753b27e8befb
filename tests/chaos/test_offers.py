"""No request runs under an offer that a crash could make the gateway forget (SPEC 6.1)."""

import asyncio
from pathlib import Path

import pytest

from bombyx.money.offer import SignedOffer
from gateway.workers.archive import Archive
from tests.network.harness import MODEL, network


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


class SlowArchive(Archive):
    """As on a busy disk."""

    async def keep_offer(self, signed: SignedOffer) -> None:
        await asyncio.sleep(0.3)
        await super().keep_offer(signed)


async def test_an_offer_is_listed_only_once_it_is_archived(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1) as net:
        net.context.archive = SlowArchive(net.context.engine)
        worker = net.workers[0].worker
        listed = net.context.registry.get(worker.generations.current.worker)
        assert listed is not None
        before = listed.current[MODEL].hash
        async with asyncio.timeout(10):
            while listed.current[MODEL].hash == before:
                worker.publish(worker.generations.current)
                await asyncio.sleep(0.05)
        assert await net.context.archive.offer(listed.current[MODEL].hash) is not None
