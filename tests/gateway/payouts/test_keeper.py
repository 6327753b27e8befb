"""Owners' channels are opened, filled and watched, on the real TVM (SPEC 8.4)."""

import pytest

from bombyx.money.channel.payout import UNSECURED_CREDIT
from gateway.channels.rows import chain_account
from gateway.payouts.rows import payout_account
from tests.gateway.metering.samples import new_claim, posted
from tests.gateway.payouts.chain_side import Side
from tests.gateway.payouts.samples import kept, live
from tests.ton.channels.parties import GRAM, wallet_on
from ton.channels import orders
from ton.channels.seen import look
from ton.codec.cells import raw
from ton.settings import DEVNET


@pytest.mark.spec("8.4-a", "8.5-a")
async def test_a_channel_is_opened_from_the_first_credit_on(side: Side) -> None:
    await side.payouts.meet("w1", side.owner, side.key)
    await side.earn(UNSECURED_CREDIT - 1)
    await side.rounds(3)
    assert await live(side.url, side.owner) is None
    await side.earn(1)
    await side.rounds(4)
    stored = await side.live()
    config = stored.channel.config
    assert (config.gateway, config.gateway_key) == (side.owner_wallet.account, side.key)
    assert config.challenge_period >= 72 * 3600
    # What was billed and twice the largest request.
    assert stored.deposited == stored.ordered == UNSECURED_CREDIT + 2 * (UNSECURED_CREDIT - 1)
    assert (await side.look(stored.channel)).deposited == stored.deposited
    assert side.troubles() == set()


@pytest.mark.spec("8.4-a")
async def test_twice_what_is_in_flight_is_deposited_where_that_is_more(side: Side) -> None:
    await side.payouts.meet("w1", side.owner, side.key)
    running = new_claim(900, reserve=3 * GRAM)
    await side.store.claim(1, side.epoch, [running])
    await side.earn(UNSECURED_CREDIT)
    await side.rounds(4)
    stored = await side.live()
    assert stored.deposited == UNSECURED_CREDIT + 6 * GRAM
    await side.store.settle([])


async def test_nothing_is_deposited_twice_while_it_is_on_its_way(side: Side) -> None:
    stored = await side.begin()
    await side.rounds(5)
    assert (await side.live()).deposited == stored.deposited
    assert len(await side.parts.task.outbox.sent_to("0:" + stored.id)) == 1


@pytest.mark.spec("8.4-a")
async def test_a_channel_is_topped_up_once_half_of_what_is_ahead_is_used(side: Side) -> None:
    first = await side.begin()
    await side.earn(first.deposited // 4)
    await side.rounds(3)
    before = await side.live()
    await side.earn(first.deposited)
    await side.rounds(4)
    after = await side.live()
    assert after.deposited > before.deposited
    stored, ceiling = await side.vouch()
    assert ceiling.amount == stored.vouched > first.deposited
    assert await side.payouts.unpaid(side.owner) == 0


@pytest.mark.spec("8.6-a")
async def test_what_the_owner_claims_is_seen_and_booked_to_the_nano(side: Side) -> None:
    await side.begin()
    stored, ceiling = await side.vouch()
    claim = orders.claim(stored.channel, ceiling.amount, ceiling=ceiling)
    await side.send(side.owner_wallet, claim)
    await side.rounds()
    stored = await side.live()
    assert stored.claimed == stored.vouched == GRAM
    assert await posted(side.url, payout_account(stored.id)) == 0
    assert await posted(side.url, chain_account(DEVNET)) == GRAM


async def test_a_close_ends_vouchers_and_another_channel_takes_over(side: Side) -> None:
    first = await side.begin()
    wallet = side.parts.task.wallet
    await wallet.put("close", orders.start_close(first.channel))
    await side.rounds(4)
    assert await side.payouts.vouch(side.owner) is not None
    second = await side.live()
    assert second.id != first.id
    closing = await kept(side.url, first.id)
    assert closing is not None
    assert (closing.live, closing.close_at > 0) == (False, True)
    side.devnet.advance(73 * 3600)
    await side.send(side.owner_wallet, orders.finish_close(first.channel))
    await side.rounds(2)
    ended = await kept(side.url, first.id)
    assert ended is not None
    assert ended.closed


@pytest.mark.spec("8.1-a")
async def test_an_old_copy_learns_from_the_chain_what_it_had_vouched(side: Side) -> None:
    stored = await side.begin()
    # These books are from before this voucher and half of the bills that it is over.
    forgotten = side.ceiling(stored.channel, 3 * GRAM // 2)
    claim = orders.claim(stored.channel, forgotten.amount, ceiling=forgotten)
    await side.send(side.owner_wallet, claim)
    await side.rounds()
    stored = await side.live()
    assert stored.vouched == stored.claimed == forgotten.amount
    assert "payout_forgotten" in side.troubles()
    assert await side.payouts.unpaid(side.owner) == 0


async def test_an_owner_without_an_address_or_key_is_owed_and_not_paid(side: Side) -> None:
    await side.earn(GRAM)
    await side.rounds(2)
    assert await live(side.url, side.owner) is None
    await side.payouts.meet("w1", side.owner, bytes(32))
    await side.rounds(2)
    assert await live(side.url, side.owner) is None
    assert await side.payouts.unpaid(side.owner) == GRAM


async def test_two_processes_deposit_once(side: Side) -> None:
    await side.payouts.meet("w1", side.owner, side.key)
    await side.earn(GRAM)
    keeper = side.parts.task.keeper
    assert keeper is not None
    await keeper.round()
    await keeper.round()
    await side.rounds(4)
    stored = await side.live()
    assert len(await side.parts.task.outbox.sent_to("0:" + stored.id)) == 1
    stranger = wallet_on(side.chain, "a stranger")
    assert raw(stranger.address) != side.owner
    assert await look(side.chain, stored.channel) is not None
