"""Reserve, claim, settle, across processes and epochs (SPEC 5)."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from bombyx.errors import InsufficientQuota, StoreBusy
from gateway.metering.meter import Meter
from gateway.metering.port import Store
from gateway.metering.rows import (
    Attempt,
    Claimed,
    Conflict,
    Disposition,
    Fenced,
    NewClaim,
    Outcome,
    SettlementRow,
    StoredClaim,
    VerdictRow,
)
from gateway.metering.sqlite_store import SqliteStore
from tests.gateway.metering.clocks import HandClock
from tests.gateway.metering.meters import STILL, still_meter
from tests.gateway.metering.samples import (
    age,
    execute,
    fund,
    new_claim,
    nothing,
    posted,
    settlement,
    sha,
    statement,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def meter(store: Store, clock: HandClock) -> AsyncIterator[Meter]:
    one = still_meter(store, clock)
    await one.start(1, "wss://a")
    yield one
    await one.close()


@asynccontextmanager
async def _second(store: Store, clock: HandClock) -> AsyncIterator[Meter]:
    other = still_meter(store, clock)
    await other.start(2, "wss://b")
    yield other
    await other.close()


async def test_a_claim_is_committed_and_its_rest_released(meter: Meter, database_url: str) -> None:
    assert await meter.claim(new_claim(1)) == Claimed(sha("c", 1))
    outcome = await meter.settle(settlement(1))
    assert outcome == Outcome(sha("c", 1), Disposition.BILLED, None, 55)
    # 945 are left, and all of it can be reserved again.
    await meter.claim(new_claim(2, reserve=945))
    with pytest.raises(InsufficientQuota):
        await meter.claim(new_claim(3, reserve=1))
    await meter.settle(nothing(2))


async def test_a_shortage_names_need_and_available_in_nano(meter: Meter) -> None:
    await meter.claim(new_claim(1, reserve=600))
    with pytest.raises(InsufficientQuota, match="401 nano and 400 nano"):
        await meter.claim(new_claim(2, reserve=401))


async def test_an_account_is_spent_to_the_last_nano(meter: Meter) -> None:
    for number in range(10):
        await meter.claim(new_claim(number))
    with pytest.raises(InsufficientQuota):
        await meter.claim(new_claim(10, reserve=1))


@pytest.mark.spec("5.1-a")
async def test_parallel_claims_never_reserve_more_than_there_is(meter: Meter) -> None:
    claims = [meter.claim(new_claim(number)) for number in range(25)]
    answers = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(isinstance(answer, Claimed) for answer in answers) == 10
    assert sum(isinstance(answer, InsufficientQuota) for answer in answers) == 15


async def test_a_conflict_gives_the_reserve_back(meter: Meter) -> None:
    await meter.claim(new_claim(1, reserve=600))
    assert isinstance(await meter.claim(new_claim(1, reserve=400)), Conflict)
    await meter.claim(new_claim(2, reserve=400))


async def test_a_recall_frees_what_another_process_holds(
    meter: Meter, store: Store, clock: HandClock
) -> None:
    await meter.claim(new_claim(1))
    await meter.settle(nothing(1))
    async with _second(store, clock) as other:
        with pytest.raises(InsufficientQuota):
            await other.claim(new_claim(2, reserve=900))
        await meter.honour_recalls()
        await other.claim(new_claim(2, reserve=900))
        await other.settle(nothing(2))


async def test_a_short_process_waits_for_the_recall(
    meter: Meter, store: Store, clock: HandClock
) -> None:
    await meter.claim(new_claim(1))
    await meter.settle(nothing(1))
    patient = dataclasses.replace(STILL, recall_waits_s=(0.05, 0.05, 0.05))
    other = Meter(store, on_deadline=lambda c: SettlementRow(c.c), clock=clock, timing=patient)
    await other.start(2, "wss://b")
    waiting = asyncio.create_task(other.claim(new_claim(2, reserve=1_000)))
    await asyncio.sleep(0.02)
    await meter.honour_recalls()
    assert await waiting == Claimed(sha("c", 2))
    await other.settle(nothing(2))
    await other.close()


@pytest.mark.spec("5.5-a")
async def test_a_stopped_process_is_fenced_and_starts_over(
    meter: Meter, clock: HandClock, database_url: str
) -> None:
    await meter.claim(new_claim(1, reserve=600))
    clock.seconds += 30
    await age(database_url, 30_000)
    # Its old claim is an orphan now: 400 are left in the new epoch.
    with pytest.raises(InsufficientQuota):
        await meter.claim(new_claim(2, reserve=401))
    assert await meter.claim(new_claim(2, reserve=400)) == Claimed(sha("c", 2))
    await meter.settle(settlement(1))
    await meter.claim(new_claim(3, reserve=545))


async def test_a_fenced_purse_is_worth_nothing(
    meter: Meter, store: Store, clock: HandClock, database_url: str
) -> None:
    """What was free of the old lease was lent to another process meanwhile."""
    await meter.claim(new_claim(1, reserve=10))
    clock.seconds += 30
    await age(database_url, 30_000)
    await store.reap()
    async with _second(store, clock) as other:
        await other.claim(new_claim(2, reserve=990))
        with pytest.raises(InsufficientQuota):
            await meter.claim(new_claim(3, reserve=1))


async def test_a_reserve_of_an_older_epoch_is_not_refunded(
    meter: Meter, clock: HandClock, database_url: str
) -> None:
    await meter.claim(new_claim(1, reserve=600))
    clock.seconds += 30
    await age(database_url, 30_000)
    await meter.claim(new_claim(2, reserve=10))
    await meter.settle(settlement(1))
    await meter.claim(new_claim(3, reserve=935))
    with pytest.raises(InsufficientQuota):
        await meter.claim(new_claim(4, reserve=1))


async def test_a_process_that_wakes_after_a_fence_cannot_claim(
    meter: Meter, clock: HandClock, database_url: str, store: Store
) -> None:
    """The database's clock decides, whatever the monotonic one says."""
    await meter.claim(new_claim(1, reserve=100))
    await age(database_url, 30_000)
    await store.reap()
    assert await meter.claim(new_claim(2, reserve=100)) == Claimed(sha("c", 2))
    fresh = (await store.find_claims([sha("c", 2)]))[sha("c", 2)]
    assert fresh.epoch > 1


async def test_renewal_keeps_the_epoch(meter: Meter, clock: HandClock, store: Store) -> None:
    for _ in range(5):
        clock.seconds += 5
        await meter.renew()
    assert [process.epoch for process in await store.processes()] == [1]


async def test_closing_gives_everything_back(store: Store, clock: HandClock) -> None:
    async with _second(store, clock) as other:
        await other.claim(new_claim(1))
        settled = other.settle(settlement(1))
    assert (await settled).disposition is Disposition.BILLED
    async with _second(store, clock) as other:
        await other.claim(new_claim(2, reserve=945))
        await other.settle(nothing(2))


async def test_a_cancelled_claim_is_settled_at_nothing(meter: Meter, store: Store) -> None:
    task = asyncio.create_task(meter.claim(new_claim(1)))
    while not meter._claims._runner:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await meter.close()
    stored = (await store.find_claims([sha("c", 1)]))[sha("c", 1)]
    assert stored.charge == 0


@pytest.mark.spec("6.2-a")
async def test_a_retarget_is_recorded_before_it_returns(meter: Meter, store: Store) -> None:
    await meter.claim(new_claim(1))
    assert await meter.retarget(Attempt(sha("c", 1), 2, "w2", "t2", "o"))
    assert [one.worker for one in await store.attempts(sha("c", 1))] == ["w1", "w2"]


async def test_an_overdue_claim_is_settled_by_the_hook(
    store: Store, clock: HandClock, database_url: str
) -> None:
    seen: list[StoredClaim] = []

    def hook(claim: StoredClaim) -> SettlementRow:
        seen.append(claim)
        return settlement(1, 40, 4)

    meter = Meter(store, on_deadline=hook, clock=clock, timing=STILL)
    await meter.start(1, "wss://a")
    await meter.claim(new_claim(1, deadline=await store.now_ms() + 5_000))
    await meter.reap()
    assert seen == []
    await age(database_url, 5_001)
    await meter.reap()
    await meter.reap()
    assert [claim.c for claim in seen] == [sha("c", 1)]
    assert await posted(database_url, "alice") == 956
    await meter.close()


async def test_a_claim_ends_even_when_the_hook_overcharges(
    store: Store, clock: HandClock, database_url: str
) -> None:
    meter = Meter(store, on_deadline=lambda _: settlement(1, 99, 9), clock=clock, timing=STILL)
    await meter.start(1, "wss://a")
    await meter.claim(new_claim(1, deadline=1))
    await meter.reap()
    assert (await store.find_claims([sha("c", 1)]))[sha("c", 1)].charge == 0
    await meter.close()


async def test_what_another_process_settled_is_released_at_the_deadline(
    meter: Meter, store: Store, clock: HandClock, database_url: str
) -> None:
    await meter.claim(new_claim(1, reserve=1_000, deadline=await store.now_ms() + 5_000))
    meter._held[sha("c", 1)] = replace(meter._held[sha("c", 1)], deadline=0)
    async with _second(store, clock) as other:
        assert (await other.settle(settlement(1))).charge == 55
    await meter.reap()
    await meter.claim(new_claim(2, reserve=945))


async def test_a_lost_claim_returns_under_its_own_lease(
    meter: Meter, store: Store, database_url: str
) -> None:
    await meter.claim(new_claim(1, reserve=1_000))
    await execute(database_url, "DELETE FROM attempt")
    await execute(database_url, "DELETE FROM claim")
    assert (await meter.settle(settlement(1))).unknown
    assert await meter.restore(new_claim(1, reserve=1_000), attempts=1) == Claimed(sha("c", 1))
    assert (await meter.settle(settlement(1))).charge == 55


async def test_a_verdict_is_stored(meter: Meter) -> None:
    await meter.claim(new_claim(1))
    row = VerdictRow(sha("c", 1), statement(1), Disposition.INVALID, "arithmetic")
    assert (await meter.record(row)).code == "arithmetic"


async def test_draining_is_told(meter: Meter, store: Store) -> None:
    await meter.drain()
    assert [process.draining for process in await store.processes()] == [True]


class _LosesAnswers(SqliteStore):
    """Commits the first claim batch and every first settlement, and then says it did not."""

    lost = 0

    async def claim(
        self, slot: int, epoch: int, batch: Sequence[NewClaim]
    ) -> list[Claimed | Conflict | Fenced]:
        answers = await super().claim(slot, epoch, batch)
        self._lose()
        return answers

    async def settle(self, batch: Sequence[SettlementRow]) -> list[Outcome]:
        outcomes = await super().settle(batch)
        self._lose()
        return outcomes

    def _lose(self) -> None:
        self.lost += 1
        if self.lost % 2:
            raise StoreBusy("the connection broke after the commit")


async def test_a_lost_answer_neither_loses_nor_repeats(sqlite_url: str, clock: HandClock) -> None:
    await fund(sqlite_url)
    store = _LosesAnswers(Path(sqlite_url.removeprefix("sqlite:///")))
    meter = still_meter(store, clock)
    await meter.start(1, "wss://a")
    assert await meter.claim(new_claim(1, reserve=600)) == Claimed(sha("c", 1))
    assert isinstance(await meter.claim(new_claim(1, reserve=0)), Conflict)
    assert (await meter.settle(settlement(1))).charge == 55
    assert await meter.claim(new_claim(2, reserve=945)) == Claimed(sha("c", 2))
    await meter.close()
    assert await store.ledger_sum() == 0
    await store.close()


async def test_one_bad_row_fails_alone(meter: Meter) -> None:
    await meter.claim(new_claim(1))
    await meter.claim(new_claim(2))
    bad = replace(settlement(1), statement=replace(statement(1), status="nonsense"))
    first, second = meter.settle(bad), meter.settle(settlement(2))
    assert (await second).charge == 55
    with pytest.raises(Exception, match="status_known"):
        await first
    assert (await meter.settle(settlement(1))).charge == 55
