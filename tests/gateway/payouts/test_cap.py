"""What lies in channels to one owner is bounded: the wallet stays able to pay others (SPEC 8.4)."""

import pytest

from bombyx.money.channel.payout import LEAST_DEPOSIT
from gateway.payouts.keeper import Keeper
from tests.gateway.metering.samples import new_claim
from tests.gateway.payouts.chain_side import Side
from tests.gateway.payouts.samples import live
from tests.ton.channels.parties import GRAM
from ton.channels import orders

MOST = 2 * GRAM


def keeper_of(side: Side) -> Keeper:
    keeper = side.parts.task.keeper
    assert keeper is not None
    return keeper


def told(side: Side) -> set[tuple[str, str]]:
    return {(one.word, one.subject) for one in side.parts.task.troubles()}


@pytest.mark.spec("8.4-b")
async def test_one_owner_s_burst_locks_no_more_than_the_operator_lets_it(side: Side) -> None:
    keeper_of(side).most = MOST
    await side.payouts.meet("w1", side.owner, side.key)
    await side.earn(7 * GRAM)
    await side.rounds(6)
    stored = await side.live()
    assert stored.deposited == stored.ordered == MOST
    assert told(side) == {("payout_capped", side.owner)}
    # What the owner claims makes room; all that was billed is paid in the end.
    for claims in range(1, 5):
        stored, ceiling = await side.vouch()
        claim = orders.claim(stored.channel, ceiling.amount, ceiling=ceiling)
        await side.send(side.owner_wallet, claim)
        await side.rounds(4)
        stored = await side.live()
        assert stored.ordered - stored.claimed <= MOST
        assert stored.claimed == min(claims * MOST, 7 * GRAM)
    assert await side.payouts.unpaid(side.owner) == 0
    # What is to lie ahead of the bills is still more.
    assert told(side) == {("payout_capped", side.owner)}
    keeper_of(side).most = 20 * GRAM
    await side.rounds(4)
    assert (await side.live()).deposited == (7 + 2 * 7) * GRAM
    assert told(side) == set()


@pytest.mark.spec("8.4-b")
async def test_what_runs_at_one_owner_locks_no_more_either(side: Side) -> None:
    await side.payouts.meet("w1", side.owner, side.key)
    await side.store.claim(1, side.epoch, [new_claim(900, reserve=4 * GRAM)])
    await side.earn(GRAM)
    keeper_of(side).most = GRAM + LEAST_DEPOSIT
    await side.rounds(4)
    stored = await side.live()
    assert stored.deposited == GRAM + LEAST_DEPOSIT
    assert told(side) == {("payout_capped", side.owner)}
    keeper_of(side).most = 20 * GRAM
    await side.rounds(4)
    assert (await side.live()).deposited == 9 * GRAM
    assert told(side) == set()


@pytest.mark.spec("8.4-b")
async def test_a_channel_that_is_closing_counts_until_it_is_gone(side: Side) -> None:
    keeper_of(side).most = 3 * GRAM
    first = await side.begin(GRAM)
    assert first.deposited == 3 * GRAM
    wallet = side.parts.task.wallet
    await wallet.put("close", orders.start_close(first.channel))
    await side.rounds(3)
    await side.earn(GRAM)
    await side.rounds(3)
    assert await live(side.url, side.owner) is None
    assert told(side) == {("payout_capped", side.owner)}
    side.devnet.advance(73 * 3600)
    await side.send(side.owner_wallet, orders.finish_close(first.channel))
    await side.rounds(5)
    assert (await side.live()).deposited > 0
    assert told(side) == set()
