"""Rows of payout channels on both databases (SPEC 8)."""

import asyncio

import pytest

from bombyx.errors import ChannelNotFound, ChannelNotOurs
from bombyx.money.channel.payout import UNSECURED_CREDIT
from gateway.channels.ledger import writing
from gateway.channels.rows import chain_account
from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.payouts.repository import Payouts
from gateway.payouts.rows import STATE_COLUMNS, StoredPayout, owner_account, payout_account
from tests.bombyx.money.channel.parties import NETWORK
from tests.gateway.metering.samples import execute, posted
from tests.gateway.payouts.samples import OWNER, begin, channel, earn, held, kept, live

ID = channel().account.hex()


def shown(stored: StoredPayout | None) -> tuple[object, ...]:
    assert stored is not None
    return stored.id, *(getattr(stored, name) for name in STATE_COLUMNS)


async def live_id(url: str) -> str | None:
    found = await live(url, OWNER)
    return None if found is None else found.id


async def funded(payouts: Payouts, url: str, deposit: int = 10**9) -> None:
    await begin(payouts, url)
    await payouts.fund(ID, deposit)


@pytest.mark.spec("8.2-a")
async def test_a_voucher_is_over_all_that_was_billed_and_is_saved_first(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, 700)
    await funded(payouts, database_url)
    first = await payouts.vouch(OWNER)
    assert first is not None
    assert first.vouched == 700
    assert shown(await kept(database_url, ID)) == shown(first)
    assert await posted(database_url, owner_account(OWNER)) == 0
    assert await posted(database_url, payout_account(ID)) == 700
    await earn(store, epoch, 2, 50)
    second = await payouts.vouch(OWNER)
    assert second is not None
    assert second.vouched == 750
    assert shown(await payouts.vouch(OWNER)) == shown(second)


@pytest.mark.spec("8.2-a")
async def test_a_voucher_goes_as_far_as_the_deposit_reaches(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, 700)
    await funded(payouts, database_url, 500)
    assert await payouts.payable([OWNER, "carol"]) == [OWNER]
    stored = await payouts.vouch(OWNER)
    assert stored is not None
    assert (stored.vouched, await payouts.unpaid(OWNER)) == (500, 200)
    assert await payouts.payable([OWNER]) == []
    await payouts.fund(ID, 400)  # an older look
    await payouts.fund(ID, 900)
    assert await payouts.payable([OWNER]) == [OWNER]
    stored = await payouts.vouch(OWNER)
    assert stored is not None
    assert (stored.vouched, stored.deposited, stored.ordered) == (700, 900, 900)


async def test_without_a_live_channel_nothing_is_vouched(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, 700)
    assert await payouts.vouch(OWNER) is None
    await funded(payouts, database_url)
    await payouts.close_started(ID, 5_000)
    assert await payouts.vouch(OWNER) is None
    assert await live(database_url, OWNER) is None
    assert [one.close_at for one in await payouts.alive()] == [5_000]
    await payouts.closed(ID)
    assert await payouts.alive() == []
    assert await payouts.unpaid(OWNER) == 700


async def test_what_no_voucher_covers_moves_along_to_a_new_channel(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, 700)
    await funded(payouts, database_url, 500)
    await payouts.vouch(OWNER)
    await payouts.close_started(ID, 5_000)
    await begin(payouts, database_url, salt=2)
    await payouts.fund(channel(2).account.hex(), 10**6)
    stored = await payouts.vouch(OWNER)
    assert stored is not None
    assert (stored.channel.config.salt, stored.vouched) == (2, 200)


async def test_an_owner_has_one_live_channel(payouts: Payouts, database_url: str) -> None:
    await begin(payouts, database_url)
    engine = create_engine(database_url)
    async with writing(engine) as connection:
        assert not await payouts.begin_in(connection, OWNER, channel(2), ordered=5)
    await engine.dispose()
    assert await live_id(database_url) == ID


async def test_owners_who_are_owed_enough_wait_for_a_channel(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, UNSECURED_CREDIT - 1)
    for worker in ("w1", "w2"):
        await payouts.meet(worker, OWNER, bytes(32))
    assert await payouts.waiting() == []
    await earn(store, epoch, 2, 1)
    assert await payouts.waiting() == [OWNER]
    await begin(payouts, database_url)
    assert await payouts.waiting() == []
    elsewhere = create_engine(database_url)
    assert await Payouts(elsewhere, network=-3).waiting() == [OWNER]
    await elsewhere.dispose()


@pytest.mark.spec("8.7-d")
async def test_the_key_that_was_named_last_counts(payouts: Payouts, database_url: str) -> None:
    assert await payouts.key_of(OWNER) is None
    await payouts.meet("w1", OWNER, bytes(32))
    await execute(database_url, "UPDATE payee SET at = at - 10")
    await payouts.meet("w2", OWNER, b"k" * 32)
    assert await payouts.key_of(OWNER) == b"k" * 32
    await execute(database_url, "UPDATE payee SET at = at - 10")
    await payouts.meet("w1", OWNER, b"n" * 32)
    assert await payouts.key_of(OWNER) == b"n" * 32


# --- Books that are an old copy (SPEC 8.1) ---


@pytest.mark.spec("8.1-a")
async def test_a_shown_voucher_is_adopted_as_vouched_and_as_billed(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, 700)
    await funded(payouts, database_url)
    stored = await payouts.adopt(OWNER, channel(), held(1_000))
    assert stored.vouched == 1_000
    assert await payouts.unpaid(OWNER) == 0
    assert await posted(database_url, payout_account(ID)) == 1_000
    assert (await payouts.adopt(OWNER, channel(), held(900))).vouched == 1_000
    await earn(store, epoch, 2, 50)
    again = await payouts.vouch(OWNER)
    assert again is not None
    assert again.vouched == 1_050
    (action,) = await execute(database_url, "SELECT action, target FROM audit_log")
    assert tuple(action) == ("payout.adopt", ID)


@pytest.mark.spec("8.1-b")
async def test_a_forgotten_channel_is_taken_back_beside_the_one_that_took_its_place(
    payouts: Payouts, database_url: str
) -> None:
    stored = await payouts.adopt(OWNER, channel(), held(1_000))
    assert (stored.vouched, stored.live) == (1_000, True)
    other = await payouts.adopt(OWNER, channel(2), held(30, 2))
    assert (other.vouched, other.live) == (30, False)
    assert await live_id(database_url) == ID
    with pytest.raises(ChannelNotOurs):
        await payouts.adopt("carol", channel(), held(1_000))


@pytest.mark.spec("8.1-a")
async def test_what_the_chain_has_paid_was_vouched(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await earn(store, epoch, 1, 700)
    await funded(payouts, database_url)
    await payouts.vouch(OWNER)
    stored = await payouts.claimed(ID, 300)
    assert (stored.vouched, stored.claimed) == (700, 300)
    stored = await payouts.claimed(ID, 900)
    assert (stored.vouched, stored.claimed) == (900, 900)
    assert shown(await payouts.claimed(ID, 300)) == shown(stored)
    assert await posted(database_url, payout_account(ID)) == 0
    assert await posted(database_url, chain_account(NETWORK)) == 900


# --- What our wallet was told ---


async def test_an_order_is_kept_once_whoever_was_faster(
    payouts: Payouts, database_url: str
) -> None:
    before = await begin(payouts, database_url, ordered=100)
    engine = create_engine(database_url)
    async with writing(engine) as connection:
        assert await payouts.order_in(connection, before, ordered=250)
        assert not await payouts.order_in(connection, before, ordered=300)
    await engine.dispose()
    now = await kept(database_url, ID)
    assert now is not None
    assert now.ordered == 250
    await payouts.not_ordered(now)
    after = await kept(database_url, ID)
    assert after is not None
    assert after.ordered == 0


async def test_a_channel_that_is_not_known_is_told_so(payouts: Payouts, database_url: str) -> None:
    for work in (payouts.fund(ID, 1), payouts.claimed(ID, 1), payouts.closed(ID)):
        with pytest.raises(ChannelNotFound):
            await work
    assert await kept(database_url, ID) is None


@pytest.mark.spec("8.2-a")
async def test_processes_that_vouch_at_once_never_contradict_each_other(
    payouts: Payouts, store: Store, epoch: int, database_url: str
) -> None:
    await funded(payouts, database_url)
    for number in range(8):
        await earn(store, epoch, number, 10)
    engines = [create_engine(database_url) for _ in range(3)]
    several = [Payouts(one, network=NETWORK) for one in engines]

    async def both(at: int) -> StoredPayout | None:
        await earn(store, epoch, 100 + at, 5)
        return await several[at % 3].vouch(OWNER)

    results = await asyncio.gather(*map(both, range(9)))
    last = await payouts.vouch(OWNER)
    assert last is not None
    assert last.vouched == 80 + 45
    assert max(one.vouched for one in results if one is not None) <= last.vouched
    for engine in engines:
        await engine.dispose()
