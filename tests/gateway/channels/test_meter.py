"""Where channels pay: no lease is touched, every reserve is released once (SPEC 5, 7.6)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bombyx.errors import InsufficientQuota, StoreBusy
from bombyx.money.channel.terms import Ceiling
from gateway.channels.repository import Channels
from gateway.metering.meter import ChannelRefused, Meter
from gateway.metering.port import Store
from gateway.metering.rows import Claimed, Conflict, KeyLimits, NewClaim
from tests.bombyx.money.channel.parties import CHANNEL, ceiling
from tests.gateway.channels.samples import DEPOSIT, ID
from tests.gateway.metering.clocks import HandClock
from tests.gateway.metering.meters import still_meter
from tests.gateway.metering.samples import age, new_claim, settlement, sha


@pytest.fixture
async def meter(store: Store, channels: Channels) -> AsyncIterator[Meter]:
    await channels.register(CHANNEL, "alice")
    await channels.fund(ID, DEPOSIT)
    one = still_meter(store, HandClock())
    await one.start(1, "wss://a")
    yield one
    await one.close()


def paid(number: int, reserve: int = 100) -> NewClaim:
    return new_claim(number, reserve=reserve, channel=ID)


BEST = ceiling(DEPOSIT)


async def test_a_channel_pays_in_place_of_the_balance(meter: Meter, channels: Channels) -> None:
    assert await meter.claim_by_channel(paid(1), BEST) == Claimed(sha("c", 1))
    assert (await meter.settle(settlement(1))).charge == 55
    assert (await channels.row(ID)).row.charged == 55
    # All of the balance is still there to be reserved.
    await meter.claim(new_claim(2, reserve=1_000))
    with pytest.raises(InsufficientQuota):
        await meter.claim(new_claim(3, reserve=1))
    await meter.settle(settlement(2))


async def test_a_refusal_says_how_the_channel_stood(meter: Meter) -> None:
    with pytest.raises(ChannelRefused) as caught:
        await meter.claim_by_channel(paid(1, reserve=DEPOSIT + 1), BEST)
    assert caught.value.error.code == "deposit_too_low"
    assert caught.value.row.deposited == DEPOSIT


async def test_the_same_commitment_is_a_conflict(meter: Meter) -> None:
    await meter.claim_by_channel(paid(1), BEST)
    assert isinstance(await meter.claim_by_channel(paid(1), BEST), Conflict)
    await meter.settle(settlement(1))


async def test_a_fenced_process_takes_a_new_epoch_and_claims(
    meter: Meter, store: Store, channels: Channels
) -> None:
    epoch = meter.epoch
    await store.open_process(1, "wss://rival")
    assert await meter.claim_by_channel(paid(1), BEST) == Claimed(sha("c", 1))
    assert meter.epoch > epoch
    await meter.settle(settlement(1))
    assert (await channels.row(ID)).row.reserved == 0


async def test_a_claim_whose_caller_left_frees_its_reserve(
    meter: Meter, channels: Channels
) -> None:
    task = asyncio.create_task(meter.claim_by_channel(paid(1), BEST))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        while (await channels.row(ID)).row.reserved:
            await asyncio.sleep(0.01)
    assert (await channels.row(ID)).row.charged == 0


async def test_a_lost_claim_is_restored_to_its_channel(
    meter: Meter, store: Store, channels: Channels
) -> None:
    await meter.claim_by_channel(paid(1), BEST)
    assert await meter.restore(paid(2), attempts=1) == Claimed(sha("c", 2))
    assert (await channels.row(ID)).row.reserved == 200
    await store.settle([settlement(1), settlement(2)])


async def test_a_deadline_settles_at_nothing_and_frees_the_channel(
    meter: Meter, channels: Channels, database_url: str
) -> None:
    await meter.claim_by_channel(paid(1), BEST)
    await age(database_url, 4_000_000_000_000)
    await meter.renew()
    await meter.reap()
    assert (await channels.row(ID)).row.reserved == 0


async def test_a_keys_budget_holds_for_what_channels_pay(meter: Meter) -> None:
    ration = meter.rations.of("key", KeyLimits(nano=150))
    entry = await meter.rations.enter(ration)
    # A key without a row has no limit in the database: what is asked for is granted.
    grip = await entry.reserve(tokens=0, nano=100)
    free = list(ration.free)
    with pytest.raises(ChannelRefused):
        await meter.claim_by_channel(paid(1), Ceiling(1, 0, b""), grip)
    assert ration.free[3] == free[3] + 100
    entry.leave()


async def test_a_busy_database_is_tried_again_and_then_said(
    meter: Meter, store: Store, monkeypatch: pytest.MonkeyPatch, channels: Channels
) -> None:
    real, failures = store.claim_by_channel, iter([True, True, False])

    async def sometimes(*given: object) -> object:
        answers = await real(*given)  # type: ignore[arg-type]
        if next(failures):
            raise StoreBusy("the answer was lost")
        return answers

    monkeypatch.setattr(store, "claim_by_channel", sometimes)
    assert await meter.claim_by_channel(paid(1), BEST) == Claimed(sha("c", 1))
    assert (await channels.row(ID)).row.reserved == 100
    monkeypatch.undo()
    await meter.settle(settlement(1))
