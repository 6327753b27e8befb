"""Claims that channels pay, and their end (SPEC 5, 7.6, 7.7), on SQLite and on PostgreSQL."""

import asyncio

import pytest
from msgspec.structs import replace

from bombyx.errors import (
    ChannelClosed,
    ChannelClosing,
    ChannelNotFound,
    ChannelRolledBack,
    DepositTooLow,
    VoucherRequired,
)
from gateway.channels.repository import Channels
from gateway.channels.rows import channel_account
from gateway.metering.port import ORPHAN_SLOT, Store
from gateway.metering.rows import (
    Claimed,
    Conflict,
    Expired,
    Fenced,
    Granted,
    RestoredClaim,
    Shortage,
    Uncovered,
)
from gateway.metering.stores import open_store
from tests.bombyx.money.channel.parties import CHANNEL, ceiling
from tests.gateway.channels.samples import DEPOSIT, ID, by_channel, paid_claim
from tests.gateway.metering.samples import (
    FAR,
    age,
    execute,
    new_claim,
    nothing,
    posted,
    settlement,
    sha,
)


async def funded(channels: Channels, store: Store, slot: int = 1) -> int:
    await channels.register(CHANNEL, "alice")
    await channels.fund(ID, DEPOSIT)
    return await store.open_process(slot, "wss://gw")


def refusal(answer: object) -> type:
    assert isinstance(answer, Uncovered)
    return type(answer.error)


@pytest.mark.spec("7.6-b")
async def test_a_claim_holds_its_reserve_and_keeps_the_voucher(
    channels: Channels, store: Store
) -> None:
    epoch = await funded(channels, store)
    best = ceiling(300, 7)
    assert await store.claim_by_channel(1, epoch, [by_channel(1, 100, best)]) == [
        Claimed(sha("c", 1))
    ]
    row = (await channels.row(ID)).row
    assert (row.reserved, row.charged, row.ceiling) == (100, 0, best)


@pytest.mark.spec("7.6-c")
async def test_a_lower_voucher_or_none_rides_on_the_best(channels: Channels, store: Store) -> None:
    epoch = await funded(channels, store)
    batch = [
        by_channel(1, 100, ceiling(300)),
        by_channel(2, 100, ceiling(200)),
        by_channel(3, 100),
        by_channel(4, 1),
    ]
    answers = await store.claim_by_channel(1, epoch, batch)
    assert [type(answer) for answer in answers[:3]] == [Claimed] * 3
    assert refusal(answers[3]) is VoucherRequired
    assert (await channels.row(ID)).row.ceiling == ceiling(300)


@pytest.mark.spec("7.6-b")
async def test_a_refused_claim_leaves_no_trace(channels: Channels, store: Store) -> None:
    epoch = await funded(channels, store)
    before = await channels.row(ID)
    batch = [by_channel(1, 101, ceiling(100)), by_channel(2, DEPOSIT + 1, ceiling(DEPOSIT + 1))]
    answers = await store.claim_by_channel(1, epoch, batch)
    assert [refusal(answer) for answer in answers] == [VoucherRequired, DepositTooLow]
    assert isinstance(answers[0], Uncovered)
    assert answers[0].row == before.row
    assert (await channels.row(ID)).row == before.row
    assert await store.find_claims([sha("c", 1), sha("c", 2)]) == {}
    again = await store.claim_by_channel(1, epoch, [by_channel(1, 100, ceiling(100))])
    assert isinstance(again[0], Claimed)


async def test_a_channel_that_ends_serves_nothing_new(channels: Channels, store: Store) -> None:
    epoch = await paid_claim(channels, store, 1)
    for step, error in (
        (channels.close_asked(ID), ChannelClosing),
        (channels.rolled_back(ID, 5), ChannelRolledBack),
        (channels.closed(ID), ChannelRolledBack),
    ):
        await step
        (answer,) = await store.claim_by_channel(1, epoch, [by_channel(2, 1)])
        assert refusal(answer) is error
    (outcome,) = await store.settle([settlement(1)])
    assert outcome.charge == 55


async def test_a_tombstone_serves_nothing(channels: Channels, store: Store) -> None:
    epoch = await funded(channels, store)
    await channels.closed(ID)
    (answer,) = await store.claim_by_channel(1, epoch, [by_channel(1, 1, ceiling(9))])
    assert refusal(answer) is ChannelClosed


async def test_a_channel_that_is_not_there_pays_nothing(store: Store) -> None:
    epoch = await store.open_process(1, "wss://gw")
    (answer,) = await store.claim_by_channel(1, epoch, [by_channel(1, 1, ceiling(9))])
    assert refusal(answer) is ChannelNotFound
    assert await store.find_claims([sha("c", 1)]) == {}


async def test_a_commitment_is_held_once(channels: Channels, store: Store) -> None:
    epoch = await funded(channels, store)
    first, second = by_channel(1, 100, ceiling(DEPOSIT)), by_channel(1, 200, ceiling(DEPOSIT))
    answers = await store.claim_by_channel(1, epoch, [first, second])
    assert isinstance(answers[0], Claimed)
    assert isinstance(answers[1], Conflict)
    assert answers[1].stored.reserve == 100
    (again,) = await store.claim_by_channel(1, epoch, [first])
    assert isinstance(again, Conflict)
    assert (await channels.row(ID)).row.reserved == 100


async def test_a_prepaid_claim_stands_in_the_way_of_the_same_commitment(
    channels: Channels, store: Store
) -> None:
    epoch = await funded(channels, store)
    assert isinstance(await store.grant("alice", 1, epoch=epoch, need=100, processes=1), Granted)
    await store.claim(1, epoch, [new_claim(1)])
    (answer,) = await store.claim_by_channel(1, epoch, [by_channel(1, 100, ceiling(DEPOSIT))])
    assert isinstance(answer, Conflict)
    assert (await channels.row(ID)).row.reserved == 0


@pytest.mark.spec("5.5-a")
async def test_a_fenced_process_holds_nothing(channels: Channels, store: Store) -> None:
    old = await paid_claim(channels, store, 1)
    await store.open_process(1, "wss://gw")
    answers = await store.claim_by_channel(1, old, [by_channel(1), by_channel(2)])
    assert isinstance(answers[0], Conflict)
    assert answers[1] == Fenced()
    assert (await channels.row(ID)).row.reserved == 100


@pytest.mark.spec("7.7-a", "5.4-b")
async def test_a_settlement_moves_the_charge_and_frees_the_rest(
    channels: Channels, store: Store, database_url: str
) -> None:
    await paid_claim(channels, store, 1)
    for _ in range(2):
        (outcome,) = await store.settle([settlement(1, amount=50, fee=5)])
        assert outcome.charge == 55
    row = (await channels.row(ID)).row
    assert (row.charged, row.reserved) == (55, 0)
    assert await posted(database_url, channel_account(ID)) == DEPOSIT - 55
    assert await posted(database_url, "worker:bob") == 50
    assert await posted(database_url, "alice") == 1_000


async def test_a_claim_that_never_ran_frees_its_reserve(channels: Channels, store: Store) -> None:
    await paid_claim(channels, store, 1)
    for _ in range(2):
        await store.settle([nothing(1)])
    row = (await channels.row(ID)).row
    assert (row.charged, row.reserved) == (0, 0)


@pytest.mark.spec("6.9-b")
async def test_prepaid_and_paid_claims_settle_in_one_batch(
    channels: Channels, store: Store, database_url: str
) -> None:
    epoch = await paid_claim(channels, store, 1)
    await store.grant("alice", 1, epoch=epoch, need=100, processes=1)
    await store.claim(1, epoch, [new_claim(2)])
    await store.claim_by_channel(1, epoch, [by_channel(3)])
    outcomes = await store.settle([settlement(1), settlement(2), nothing(3)])
    assert [outcome.charge for outcome in outcomes] == [55, 55, 0]
    assert (await channels.row(ID)).row.charged == 55
    assert await posted(database_url, "alice") == 945
    assert await store.uneven_channels() == []


@pytest.mark.spec("6.9-b")
@pytest.mark.parametrize("change", ["reserved = reserved + 1", "charged = charged + 1"])
async def test_a_row_that_is_not_what_its_claims_say_is_noticed(
    channels: Channels, store: Store, database_url: str, change: str
) -> None:
    await paid_claim(channels, store, 1)
    await execute(database_url, f"UPDATE channel SET {change}")
    assert await store.uneven_channels() == [ID]
    await execute(database_url, f"UPDATE channel SET {change.replace('+', '-')}")


async def test_what_a_channel_pays_takes_nothing_of_the_balance(
    channels: Channels, store: Store
) -> None:
    epoch = await paid_claim(channels, store, 1, reserve=900)
    await store.close_process(1, epoch)
    other = await store.open_process(2, "wss://b")
    answer = await store.grant("alice", 2, epoch=other, need=1_000, processes=1)
    assert answer == Granted(1_000)


@pytest.mark.spec("5.6-a")
async def test_claims_of_a_dead_process_stay_held_until_they_are_settled(
    channels: Channels, store: Store, database_url: str
) -> None:
    await paid_claim(channels, store, 1, reserve=800)
    await age(database_url, 21_000)
    await store.reap()
    epoch = await store.open_process(2, "wss://b")
    (answer,) = await store.claim_by_channel(2, epoch, [by_channel(2, 201)])
    assert refusal(answer) is DepositTooLow
    await age(database_url, FAR)
    epoch = await store.open_process(2, "wss://b")
    due = await store.overdue(2, epoch, grace_ms=0)
    assert [claim.c for claim in due] == [sha("c", 1)]
    await store.settle([nothing(1)])
    assert (await channels.row(ID)).row.reserved == 0


def lost(number: int, owner: tuple[int, int] | None = None, **changes: object) -> RestoredClaim:
    claim = new_claim(number, channel=ID)
    return RestoredClaim(replace(claim, **changes), 1, owner)


@pytest.mark.spec("5.3-b")
async def test_a_lost_claim_is_held_again_where_the_voucher_covers_it(
    channels: Channels, store: Store
) -> None:
    await paid_claim(channels, store, 1)
    assert await store.restore([lost(2)]) == [Claimed(sha("c", 2))]
    (again,) = await store.restore([lost(2)])
    assert isinstance(again, Conflict)
    assert again.stored.slot == ORPHAN_SLOT
    assert (await channels.row(ID)).row.reserved == 200
    await store.settle([settlement(2)])
    assert (await channels.row(ID)).row.charged == 55


async def test_a_lost_claim_waits_for_the_voucher_that_was_lost_with_it(
    channels: Channels, store: Store
) -> None:
    epoch = await funded(channels, store)
    assert await store.restore([lost(1)]) == [Shortage(0)]
    assert await store.find_claims([sha("c", 1)]) == {}
    await store.claim_by_channel(1, epoch, [by_channel(2, 100, ceiling(200))])
    assert await store.restore([lost(1, (1, epoch))]) == [Claimed(sha("c", 1))]
    assert (await channels.row(ID)).row.reserved == 200


@pytest.mark.spec("9.2-b")
async def test_no_lost_claim_is_held_while_our_close_terms_are_good(
    channels: Channels, store: Store
) -> None:
    await paid_claim(channels, store, 1)
    await store.settle([nothing(1)])
    await channels.close_asked(ID)
    assert await store.restore([lost(2)]) == [Claimed(sha("c", 2))]
    await store.settle([nothing(2)])
    now = await store.now_ms() // 1000
    await channels.sign_close_terms(ID, valid_until=now + 300, now=now)
    assert await store.restore([lost(3)]) == [Shortage(0)]


async def test_a_lost_claim_is_not_restored_after_its_deadline_or_without_its_channel(
    channels: Channels, store: Store
) -> None:
    assert await store.restore([lost(1)]) == [Shortage(0)]
    await paid_claim(channels, store, 2)
    assert await store.restore([lost(1, deadline=1)]) == [Expired()]
    assert (await channels.row(ID)).row.reserved == 100


async def test_racing_processes_never_hold_more_than_is_covered(
    channels: Channels, store: Store, database_url: str
) -> None:
    await funded(channels, store)
    other = await open_store(database_url)
    epochs = {1: await store.open_process(1, "wss://a"), 2: await store.open_process(2, "wss://b")}
    try:

        async def ask(number: int) -> object:
            slot, own = (1, store) if number % 2 else (2, other)
            batch = [by_channel(number, 90, ceiling(90 * (number % 9 + 1)))]
            (answer,) = await own.claim_by_channel(slot, epochs[slot], batch)
            if isinstance(answer, Claimed) and number % 3:
                await own.settle([settlement(number)])
            return answer

        answers = await asyncio.gather(*(ask(number) for number in range(1, 41)))
    finally:
        await other.close()
    held = [number for number, one in enumerate(answers, 1) if isinstance(one, Claimed)]
    row = (await channels.row(ID)).row
    assert row.charged == 55 * len([number for number in held if number % 3])
    assert row.reserved == 90 * len([number for number in held if number % 3 == 0])
    assert row.charged + row.reserved <= min(row.ceiling.amount, row.deposited)


async def test_the_database_itself_refuses_more_than_is_covered(
    channels: Channels, store: Store, database_url: str
) -> None:
    await paid_claim(channels, store, 1)
    for change in ("reserved = 1001", "ceiling = 99", "charged = -1", "claimed = 1"):
        with pytest.raises(Exception, match="ck_channel"):
            await execute(database_url, f"UPDATE channel SET {change}")
