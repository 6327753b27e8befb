"""Limits of keys hold to the token over any number of processes, whatever is killed or stopped."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bombyx.errors import BombyxError, InsufficientQuota, Overloaded, RateLimited
from gateway.accounts.limits import write_limits
from gateway.accounts.repository import Accounts
from gateway.database import create_engine
from gateway.metering.meter import Meter
from gateway.metering.port import Store
from gateway.metering.rationing import MS_PER_MINUTE, Asked, month_start, plan_ration
from gateway.metering.rations import Entry, Ration
from gateway.metering.rows import Fenced, KeyLimits, Rationed
from tests.gateway.metering import samples
from tests.gateway.metering.clocks import HandClock
from tests.gateway.metering.meters import STILL, at_nothing, crash

QUICK = dataclasses.replace(STILL, recall_s=0.01, recall_waits_s=(0.03, 0.06, 0.09))
RESERVE = 100


@dataclass
class Site:
    """Some processes, one key."""

    url: str
    store: Store
    clock: HandClock
    meters: list[Meter]
    key: str = ""
    limits: KeyLimits = field(default_factory=KeyLimits)
    owners: list[int] = field(default_factory=list)
    """The process of each claim."""

    async def limit(self, **limits: Any) -> None:
        self.limits = KeyLimits(**limits)
        engine = create_engine(self.url)
        if not self.key:
            record, _ = await Accounts(engine).create_key("alice", name="k", limits=self.limits)
            self.key = record.id
        await write_limits(engine, self.key, self.limits, actor="test")
        await engine.dispose()

    def ration(self, process: int) -> Ration:
        return self.meters[process].rations.of(self.key, self.limits)

    async def enter(self, process: int) -> Entry:
        return await self.meters[process].rations.enter(self.ration(process))

    async def claim(self, process: int, *, nano: int = RESERVE, tokens: int = 0) -> int:
        """One claimed request of the key; its number."""
        entry = await self.enter(process)
        grip = await entry.reserve(tokens=tokens, nano=nano)
        number = len(self.owners)
        self.owners.append(process)
        new = samples.new_claim(number, reserve=nano, key=self.key, rationed=grip.rationed)
        await self.meters[process].claim(new, grip)
        entry.leave()
        return number

    async def minute(self) -> int:
        return await self.store.now_ms() // MS_PER_MINUTE

    async def committed(self) -> int:
        """What of the budget is spent or may still be, by the database."""
        query = "SELECT COALESCE(SUM(granted), 0) FROM allowance WHERE kind = 'nano'"
        rows = await samples.execute(self.url, query)
        month = month_start(await self.store.now_ms())
        return int(rows[0][0]) + await self.store.spent(self.key, month)


@pytest.fixture
async def site(store: Store, database_url: str) -> AsyncIterator[Site]:
    clock = HandClock()
    meters = [Meter(store, on_deadline=at_nothing, clock=clock, timing=QUICK) for _ in range(3)]
    for slot, meter in enumerate(meters):
        await meter.start(slot, "")
    for meter in meters:
        await meter.renew()  # each now knows of the others
    yield Site(database_url, store, clock, meters)
    for meter in meters:
        await meter.close()


async def count(work: list[Awaitable[Any]]) -> tuple[list[Any], list[BombyxError]]:
    done = await asyncio.gather(*work, return_exceptions=True)
    refused = [one for one in done if isinstance(one, BombyxError)]
    for one in done:
        assert not isinstance(one, BaseException) or isinstance(one, BombyxError), one
    return [one for one in done if not isinstance(one, BaseException)], refused


async def in_one_minute(site: Site, work: Callable[[], Awaitable[int]], limit: int) -> int:
    """How much was admitted; what a minute's end in the middle allows on top is taken off."""
    before = await site.minute()
    admitted = await work()
    crossed = await site.minute() - before
    assert admitted <= limit * (1 + crossed)
    return admitted if not crossed else min(admitted, limit)


@pytest.mark.spec("5.7-a")
async def test_requests_a_minute_hold_over_all_processes(site: Site) -> None:
    await site.limit(requests=50)

    async def work() -> int:
        entered, refused = await count([site.enter(n % 3) for n in range(150)])
        assert all(isinstance(one, RateLimited) and one.retry_after_ms for one in refused)
        return len(entered)

    assert await in_one_minute(site, work, 50) == 50


async def test_a_killed_process_takes_its_part_of_the_minute_along(site: Site) -> None:
    await site.limit(requests=40)

    async def work() -> int:
        first, _ = await count([site.enter(0) for _ in range(3)])
        await crash(site.meters[0])
        rest, _ = await count([site.enter(1 + n % 2) for n in range(80)])
        return len(first) + len(rest)

    assert await in_one_minute(site, work, 40) <= 40


async def test_tokens_are_reserved_at_most_and_counted_as_signed(site: Site) -> None:
    await site.limit(tokens=1000)

    async def work() -> int:
        numbers = [await site.claim(0, tokens=400) for _ in range(2)]
        with pytest.raises(RateLimited) as refused:
            await site.claim(0, tokens=400)
        assert refused.value.retry_after_ms
        for number in numbers:
            row = samples.settlement(number)
            settled = type(row)(
                row.c, row.amount, row.fee, row.payee, row.statement, tokens=(90, 50, 10, 5)
            )
            await site.meters[0].settle(settled)
        # 200 of 1000 were used; what was kept back for the rest is free again.
        await site.claim(1, tokens=400)
        await site.claim(2, tokens=400)
        return 1000

    await in_one_minute(site, work, 1000)


async def test_a_request_larger_than_the_minute_is_told_not_to_try_again(site: Site) -> None:
    await site.limit(tokens=1000)
    with pytest.raises(RateLimited) as refused:
        await site.claim(0, tokens=1001)
    assert (refused.value.should_retry, refused.value.retry_after_ms) == (False, None)


async def test_requests_at_once_hold_over_all_processes_and_come_back(site: Site) -> None:
    await site.limit(slots=7)
    for _ in range(3):
        entered, refused = await count([site.enter(n % 3) for n in range(30)])
        assert len(entered) == 7
        assert all(one.retry_after_ms for one in refused)
        for entry in entered:
            entry.leave()
            entry.leave()
        for ration in (site.ration(process) for process in range(3)):
            ration.denied.clear()  # as if the half second had passed


async def reaped(site: Site) -> None:
    """As with SIGSTOP: process 0 is silent for a minute, and the others take what it was lent."""
    await samples.age(site.url, 60_000)
    for meter in site.meters[1:]:
        await meter.renew()
    await site.meters[1].reap()


@pytest.mark.spec("5.7-a")
async def test_what_outlives_its_process_counts_until_it_is_settled(site: Site) -> None:
    await site.limit(slots=2)
    running = [await site.claim(0), await site.claim(0)]
    await reaped(site)
    site.clock.seconds += 60
    for process in range(3):
        with pytest.raises(RateLimited):
            await site.enter(process)
    await site.meters[1].settle(samples.nothing(running[0]))
    for process in range(3):
        site.ration(process).denied.clear()
    await site.enter(1)
    for process in range(3):
        with pytest.raises(RateLimited):
            await site.enter(process)


@pytest.mark.spec("5.7-b")
@pytest.mark.parametrize("pays", ["account", "channel"])
async def test_who_entered_in_an_older_epoch_claims_nothing_in_the_next(
    site: Site, pays: str
) -> None:
    await site.limit(slots=2)
    early = [await site.enter(0), await site.enter(0)]
    await reaped(site)
    late = [await site.enter(1), await site.enter(1)]
    site.clock.seconds += 60
    meter = site.meters[0]
    for number, entry in enumerate(early):
        new = samples.new_claim(number, key=site.key)
        grip = await entry.reserve(tokens=0, nano=RESERVE)
        with pytest.raises(Overloaded):
            await (
                meter.claim(new, grip)
                if pays == "account"
                else meter.claim_by_channel(new, None, grip)
            )
        assert await site.store.find_claims([new.c]) == {}
        entry.leave()
    with pytest.raises(RateLimited):
        await site.enter(0)  # what left was lent by nobody any more
    for entry in late:
        entry.leave()


async def test_what_a_living_process_was_lent_is_not_counted_twice(site: Site) -> None:
    await site.limit(slots=2)
    entry = await site.enter(0)
    grip = await entry.reserve(tokens=0, nano=RESERVE)
    await site.meters[0].claim(samples.new_claim(0, key=site.key), grip)
    await site.enter(1)
    with pytest.raises(RateLimited):
        await site.enter(2)


async def test_a_budget_holds_to_the_nano_and_counts_what_was_charged(site: Site) -> None:
    await site.limit(nano=450)
    claimed, refused = await count([site.claim(n % 3) for n in range(9)])
    assert len(claimed) == 4
    for error in refused:
        assert isinstance(error, InsufficientQuota)
        assert (error.status, error.should_retry, error.code) == (429, False, "insufficient_quota")
    assert await site.committed() <= 450
    for number in claimed:
        owner = site.meters[site.owners[number]]
        await owner.settle(samples.settlement(number))  # 55 each
    month = month_start(await site.store.now_ms())
    assert await site.store.spent(site.key, month) == 220
    for process in range(3):
        site.ration(process).denied.clear()
    claimed, _ = await count([site.claim(n % 3) for n in range(4)])
    assert len(claimed) == 2
    assert await site.committed() <= 450


async def test_reserves_of_a_killed_process_stay_in_the_budget_until_settled(site: Site) -> None:
    await site.limit(nano=300)
    number = await site.claim(0)
    await crash(site.meters[0])
    await samples.execute(site.url, "UPDATE process SET expires_at = 0 WHERE slot = 0")
    await site.meters[1].reap()
    month = month_start(await site.store.now_ms())
    assert await site.store.spent(site.key, month) == RESERVE
    claimed, _ = await count([site.claim(1) for _ in range(4)])
    assert len(claimed) == 2
    assert await site.committed() == 300
    await site.meters[1].settle(samples.nothing(number))
    site.ration(1).denied.clear()
    await site.claim(1)
    assert await site.committed() == 300


async def test_a_claim_from_an_older_epoch_is_not_made(site: Site) -> None:
    await site.limit(nano=300)
    entry = await site.enter(0)
    grip = await entry.reserve(tokens=0, nano=RESERVE)
    await site.store.open_process(0, "")  # a rival on its slot
    new = samples.new_claim(0, key=site.key, rationed=True)
    with pytest.raises(Overloaded):
        await site.meters[0].claim(new, grip)
    assert await site.store.find_claims([new.c]) == {}


async def test_a_reserve_that_no_account_covers_returns_to_the_budget(site: Site) -> None:
    await site.limit(nano=10**6)
    with pytest.raises(InsufficientQuota):
        await site.claim(0, nano=5000)  # alice has 1000
    assert site.ration(0).free[3] >= 5000


async def test_new_limits_hold_from_the_next_grant_on(site: Site) -> None:
    await site.limit(slots=4)
    entered = [await site.enter(0) for _ in range(2)]
    await site.limit(slots=1)
    with pytest.raises(RateLimited):
        await site.enter(1)
    for entry in entered:
        entry.leave()
    site.ration(1).denied.clear()
    await asyncio.sleep(0.1)  # process 0 returns what it held
    await site.enter(1)
    with pytest.raises(RateLimited):
        await site.enter(2)
    await site.limit()
    await site.enter(2)


async def test_a_flood_is_refused_without_asking_each_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.limit(requests=1)
    asked: list[int] = []
    ration = site.store.ration

    async def counted(*arguments: Any, **options: Any) -> Rationed | Fenced:
        asked.append(1)
        return await ration(*arguments, **options)

    monkeypatch.setattr(site.store, "ration", counted)
    await count([site.enter(0) for _ in range(100)])
    assert len(asked) < 10


async def test_headers_tell_limits_of_the_minute_only(site: Site) -> None:
    await site.limit(requests=10, tokens=500, slots=3)
    await site.claim(0, tokens=100)
    lines = dict(line.split(b": ") for line in site.ration(0).headers().splitlines())
    assert lines[b"x-ratelimit-limit-requests"] == b"10"
    assert lines[b"x-ratelimit-remaining-requests"] == b"9"
    assert lines[b"x-ratelimit-remaining-tokens"] == b"400"
    assert lines[b"x-ratelimit-reset-tokens"][-1:] == b"s"
    assert len(lines) == 6
    await site.limit(slots=3)
    assert site.ration(0).headers() == b""


def test_months_begin_on_their_first_day_in_utc() -> None:
    assert month_start(0) == 0
    assert month_start(31 * 86_400_000 - 1) == 0
    assert month_start(31 * 86_400_000) == 31


@pytest.mark.parametrize("processes", [0, 1, 3])
def test_a_grant_covers_the_need_and_never_more_than_is_left(processes: int) -> None:
    for left in (1, 2, 5, 100):
        for need in range(1, left + 1):
            asked = Asked(0, 1, (need, need, need, need), processes, 0)
            plan = plan_ration(asked, (left, left, left, None), [], strays=0, spent=0)
            assert plan.answer.granted is not None
            for amount in plan.answer.granted[:3]:
                assert need <= amount <= left
            assert plan.answer.granted[3] == need
            assert {kind for kind, _, _ in plan.grants} == {"requests", "tokens", "slots"}
