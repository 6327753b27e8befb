"""A channel's life as the gateway watches it, on the real TVM and both databases."""

from functools import partial

import pytest

from bombyx.errors import (
    ChannelClosed,
    ChannelClosing,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
)
from gateway.channels.rows import chain_account, channel_account
from tests.gateway.channels.chain.fixtures import Gate
from tests.gateway.metering.samples import posted
from tests.ton.channels.parties import GRAM, HOUR
from ton.channels import orders
from ton.codec.cells import raw
from ton.settings import DEVNET


def wealth(gate: Gate) -> int:
    return gate.parties.devnet.account(raw(gate.connection.address)).balance


async def test_deposits_and_top_ups_are_taken_once(gate: Gate) -> None:
    await gate.begin(2 * GRAM)
    await gate.parties.send(gate.parties.client, orders.top_up(gate.channel, GRAM))
    await gate.rounds(3)
    assert (await gate.row()).row.deposited == 3 * GRAM
    assert await posted(gate.url, channel_account(gate.id)) == 3 * GRAM
    assert gate.troubles() == set()


async def test_a_channel_that_is_not_deployed_is_waited_for(gate: Gate) -> None:
    await gate.channels.register(gate.channel, "alice")
    await gate.rounds()
    assert (await gate.row()).row.deposited == 0
    assert await gate.connection.side.look(gate.channel) is None
    assert gate.troubles() == set()


async def test_spam_top_ups_cost_their_sender_and_nobody_else(gate: Gate) -> None:
    await gate.begin(GRAM)
    for amount in (1, 9_999_999, 10_000_000):
        await gate.parties.send(gate.parties.client, orders.top_up(gate.channel, amount))
        await gate.rounds()
    assert (await gate.row()).row.deposited == GRAM + 10_000_000


@pytest.mark.spec("9.6-a")
async def test_what_was_charged_is_claimed_once_it_is_worth_its_gas(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM // 100)
    await gate.rounds(2)
    assert (await gate.parties.look()).claimed == 0
    await gate.charge(GRAM)
    before = wealth(gate)
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == GRAM + GRAM // 100
    assert (await gate.row()).row.claimed == GRAM + GRAM // 100
    assert wealth(gate) > before + GRAM
    await gate.rounds(3)
    assert len(await gate.parts.task.outbox.sent_to("0:" + gate.id)) == 1


@pytest.mark.spec("7.7-a")
async def test_claims_name_what_was_charged_and_not_what_is_reserved(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.reserve(2 * GRAM)
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == GRAM
    assert (await gate.row()).row.ceiling.amount == 3 * GRAM


@pytest.mark.spec("9.1-c", "9.6-b")
async def test_a_close_is_answered_with_the_last_claim(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM // 100)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    await gate.rounds()
    row = (await gate.row()).row
    assert (row.closing, row.close_at > 0) == (True, True)
    await gate.rounds(2)
    assert (await gate.parties.look()).claimed == GRAM // 100
    gate.parties.devnet.advance(HOUR)
    await gate.parties.send(gate.parties.client, orders.finish_close(gate.channel))
    await gate.rounds()
    assert (await gate.row()).row.closed
    assert await posted(gate.url, channel_account(gate.id)) == 0
    assert await posted(gate.url, chain_account(DEVNET)) == -GRAM // 100


@pytest.mark.spec("9.6-b")
async def test_while_requests_run_the_claim_waits_until_time_runs_short(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM // 100)
    number = await gate.reserve(GRAM // 10)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == 0
    gate.parties.devnet.advance(HOUR * 2 // 3)
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == GRAM // 100
    await gate.give_up(number)


async def test_a_close_while_the_gateway_was_down_is_answered_when_it_is_back(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    gate.parties.devnet.advance(HOUR - 60)
    await gate.rounds(3)
    assert (await gate.parties.look()).claimed == GRAM


async def test_a_channel_that_ended_while_the_gateway_was_down_is_a_tombstone(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    gate.parties.devnet.advance(HOUR)
    await gate.parties.send(gate.parties.client, orders.finish_close(gate.channel))
    await gate.rounds(3)
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, 0)
    assert await posted(gate.url, channel_account(gate.id)) == 0


async def test_both_agree_on_an_end(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM)
    terms, ours, theirs = gate.parties.terms(GRAM)
    ended = orders.coop_close(gate.channel, terms, client_signature=ours, gateway_signature=theirs)
    await gate.parties.send(gate.parties.client, ended)
    await gate.rounds()
    row = (await gate.row()).row
    assert (row.closed, row.claimed, row.charged) == (True, GRAM, GRAM)
    assert await posted(gate.url, channel_account(gate.id)) == 0


@pytest.mark.spec("9.3-a")
async def test_the_gateway_ends_a_channel_with_what_was_charged(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM // 100)
    number = await gate.reserve(GRAM)
    end = partial(gate.parts.task.close_channel, actor="boss")
    with pytest.raises(CloseInFlight):
        await end(gate.id)
    await gate.give_up(number)
    await end(gate.id)
    await end(gate.id)
    await gate.rounds(3)
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, GRAM // 100)
    with pytest.raises(ChannelClosed):
        await end(gate.id)


@pytest.mark.spec("9.3-b")
async def test_an_end_by_the_gateway_is_not_taken_back_and_comes_by_itself(gate: Gate) -> None:
    await gate.begin()
    await gate.charge(GRAM // 100)
    number = await gate.reserve(GRAM)
    with pytest.raises(CloseInFlight):
        await gate.parts.task.close_channel(gate.id, actor="boss")
    with pytest.raises(ChannelClosing):
        await gate.channels.reopened(gate.id, now=gate.parties.devnet.now())
    with pytest.raises(AssertionError, match="ChannelClosing"):
        await gate.reserve(1)
    await gate.rounds(2)
    assert not (await gate.row()).row.closed
    await gate.give_up(number)
    await gate.rounds(4)
    row = (await gate.row()).row
    assert (row.closed, row.claimed) == (True, GRAM // 100)


async def test_a_person_may_have_the_gateway_claim_however_little_there_is(gate: Gate) -> None:
    await gate.begin()
    now = partial(gate.parts.task.claim_channel, actor="boss")
    await now(gate.id)
    await gate.rounds()
    assert (await gate.row()).row.claimed == 0
    await gate.charge(1)
    await now(gate.id)
    await now(gate.id)
    await gate.rounds(3)
    assert (await gate.row()).row.claimed == 1
    assert (await gate.parties.look()).claimed == 1
    await gate.channels.rolled_back(gate.id, 2)
    with pytest.raises(ChannelRolledBack):
        await now(gate.id)


async def test_a_channel_without_a_voucher_is_its_client_s_to_close(gate: Gate) -> None:
    await gate.begin()
    with pytest.raises(CloseNotAsked, match="still takes requests"):
        await gate.parts.task.claims.close(gate.id)
    with pytest.raises(CloseNotAsked, match="no voucher"):
        await gate.parts.task.close_channel(gate.id, actor="boss")
    await gate.channels.rolled_back(gate.id, 1)
    with pytest.raises(ChannelRolledBack):
        await gate.parts.task.close_channel(gate.id, actor="boss")


async def test_what_a_tombstone_s_requests_held_is_paid_back_when_they_end(gate: Gate) -> None:
    await gate.begin()
    number = await gate.reserve(GRAM)
    await gate.parties.send(gate.parties.client, orders.start_close(gate.channel))
    gate.parties.devnet.advance(HOUR)
    await gate.parties.send(gate.parties.client, orders.finish_close(gate.channel))
    await gate.rounds()
    assert await posted(gate.url, channel_account(gate.id)) == GRAM
    await gate.give_up(number)
    await gate.rounds()
    assert await posted(gate.url, channel_account(gate.id)) == 0
