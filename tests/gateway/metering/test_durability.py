"""What is answered is on disk (SPEC 5.2)."""

import asyncio
import sys
from pathlib import Path

import pytest

from gateway.metering.stores import open_store
from tests.gateway.metering.samples import fund, sha


@pytest.mark.spec("5.2-a")
async def test_claims_survive_kill_9(sqlite_url: str) -> None:
    """A child claims, says so, and is killed at once; every claim it announced is there."""
    await fund(sqlite_url, "alice", 10**9)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.gateway.metering.claimer", sqlite_url),
        cwd=Path(__file__).parents[3],
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    announced = [int(await child.stdout.readline()) for _ in range(50)]
    child.kill()
    rest = await child.stdout.read()
    await child.wait()
    announced += [int(line) for line in rest.split(b"\n")[:-1]]
    store = await open_store(sqlite_url)
    stored = await store.find_claims([sha("c", number) for number in announced])
    await store.close()
    assert len(stored) == len(announced)
