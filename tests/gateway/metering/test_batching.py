"""Group commit: what comes while a batch is written is the next batch."""

import asyncio
from collections.abc import Sequence

import pytest

from bombyx.errors import StoreBusy
from gateway.metering.batching import BATCH_LIMIT, GroupCommit


class _Disk:
    """Remembers batches; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.failures = failures

    async def write(self, rows: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise StoreBusy("busy")
        self.batches.append(list(rows))
        if -1 in rows:
            raise ValueError("a bad row")
        return [-row for row in rows]


async def test_rows_that_come_together_are_one_batch() -> None:
    disk = _Disk()
    commit = GroupCommit(disk.write, window_s=0, retries=0)
    assert await asyncio.gather(*(commit.submit(n) for n in (1, 2, 3))) == [-1, -2, -3]
    assert disk.batches == [[1, 2, 3]]


async def test_a_full_batch_does_not_wait_for_the_window() -> None:
    disk = _Disk()
    commit = GroupCommit(disk.write, window_s=60.0, retries=0)
    futures = [commit.submit(n) for n in range(BATCH_LIMIT)]
    await asyncio.gather(*futures)
    assert [len(batch) for batch in disk.batches] == [BATCH_LIMIT]


async def test_the_window_gathers_what_comes_later() -> None:
    disk = _Disk()
    commit = GroupCommit(disk.write, window_s=0.05, retries=0)
    first = commit.submit(1)
    await asyncio.sleep(0.01)
    await asyncio.gather(first, commit.submit(2))
    assert disk.batches == [[1, 2]]


async def test_a_passing_failure_is_repeated() -> None:
    commit = GroupCommit(_Disk(failures=2).write, window_s=0, retries=None)
    assert await commit.submit(1) == -1


async def test_repetitions_end_where_a_client_waits() -> None:
    commit = GroupCommit(_Disk(failures=2).write, window_s=0, retries=1)
    with pytest.raises(StoreBusy):
        await commit.submit(1)


async def test_a_bad_row_fails_alone() -> None:
    commit = GroupCommit(_Disk().write, window_s=0, retries=0)
    answers = await asyncio.gather(*(commit.submit(n) for n in (1, -1, 3)), return_exceptions=True)
    assert (answers[0], answers[2]) == (-1, -3)
    assert isinstance(answers[1], ValueError)


async def test_closing_writes_what_is_queued() -> None:
    disk = _Disk()
    commit = GroupCommit(disk.write, window_s=60.0, retries=None)
    future = commit.submit(1)
    await asyncio.sleep(0)
    await commit.close(5.0)
    assert await future == -1


async def test_closing_tells_those_whose_rows_are_not_written() -> None:
    commit = GroupCommit(_Disk(failures=10**9).write, window_s=0, retries=None)
    future = commit.submit(1)
    await commit.close(0.05)
    with pytest.raises(StoreBusy, match="stopped"):
        await future
    await commit.close(0.05)
