"""What a worker signs for a request that the gateway gave up is settled at once (SPEC 6.3, 6.7)."""

import asyncio
from pathlib import Path

import openai
import pytest
from sqlalchemy import text

from tests.network.harness import CREDIT, MODEL, Network, network


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


async def _settled(net: Network) -> list[tuple[str, str]]:
    """Disposition and status of every statement, well before a journal would be sent again."""
    async with asyncio.timeout(5):
        await net.settled()
        while any([await one.journal.undisposed(net.context.gateway) for one in net.workers]):
            await asyncio.sleep(0.02)
    assert await net.context.store.billing_gap() == 0
    async with net.context.engine.connect() as connection:
        found = await connection.execute(text("SELECT disposition, status FROM receipt"))
        return sorted((disposition, status) for disposition, status in found)


async def test_a_stream_that_runs_too_long_is_stopped_and_billed_as_signed(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1, max_duration_s=1, settlement_grace_s=600) as net:
        stream = await net.sealed().chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "pace: 20\ncount: 1000"}],
            stream=True,
        )
        with pytest.raises(openai.APIError) as caught:
            async for _ in stream:
                pass
        assert caught.value.code == "relay_interrupted"
        assert await _settled(net) == [("billed", "aborted")]
        assert CREDIT - await net.balance() > 0


async def test_a_worker_too_slow_to_begin_is_superseded_and_not_left_waiting(
    tmp_path: Path,
) -> None:
    async with network(tmp_path, workers=2, first_byte_whole_s=1) as net:
        with pytest.raises(openai.APIStatusError):
            await net.sealed().chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "pace: 20\ncount: 1000"}],
            )
        assert await _settled(net) == [("superseded", "aborted")] * 2
        assert await net.balance() == CREDIT
