"""A channel's whole life on the real TVM, as wallets send it and the chain client reads it."""

import dataclasses

import pytest
from pytoniq_core import Address

from bombyx.money.channel.identity import Channel
from tests.ton.channels.parties import GRAM, HOUR, Parties
from tests.ton.devnet.wallets import Wallet as Stranger
from ton.chain.agreed import AgreedChain
from ton.chain.errors import ForeignContract
from ton.chain.port import Point
from ton.channels import costs, orders
from ton.channels.history import event_of, history
from ton.channels.seen import look, seen
from ton.codec.cells import Writer, raw
from ton.codec.constants import RENT_RESERVE, Err, Gas
from ton.codec.storage import contract_address, state_init
from ton.contracts import payment_channel
from ton.devnet.chain import Devnet
from ton.tvm.network import BASECHAIN_2026


@pytest.fixture
def parties(chain: AgreedChain, devnet: Devnet) -> Parties:
    return Parties(chain, devnet)


async def test_a_channel_is_none_then_open_then_fuller(parties: Parties) -> None:
    assert await look(parties.chain, parties.channel) is None
    opened = await parties.opened(2 * GRAM)
    assert (opened.kind, opened.succeeded, opened.deposited) == ("top_up", True, 2 * GRAM)
    assert opened.source == raw(parties.client.address)
    await parties.send(parties.gateway, orders.top_up(parties.channel, GRAM))
    now = await parties.look()
    assert (now.deposited, now.claimed, now.close_at, now.closed) == (3 * GRAM, 0, 0, False)
    assert now.balance == 3 * GRAM + RENT_RESERVE
    assert parties.supply_is_even()


async def test_opening_an_address_that_holds_money_already_still_opens(parties: Parties) -> None:
    parties.devnet.give(orders.address_of(parties.channel), GRAM)
    assert await look(parties.chain, parties.channel) is None
    await parties.opened()
    assert (await parties.look()).deposited == 5 * GRAM


@pytest.mark.spec("7.4-a")
async def test_a_claim_pays_what_was_charged_and_not_the_ceiling(parties: Parties) -> None:
    await parties.opened()
    await parties.send(parties.gateway, orders.top_up(parties.channel, GRAM))  # deploys its wallet
    before = parties.devnet.account(raw(parties.gateway.address)).balance
    event = await parties.send(
        parties.gateway, orders.claim(parties.channel, GRAM, ceiling=parties.ceiling(3 * GRAM))
    )
    assert (event.kind, event.claimed, event.closed) == ("claim", GRAM, False)
    assert event.gas_used <= costs.CLAIM_GAS
    gained = parties.devnet.account(raw(parties.gateway.address)).balance - before
    cost = costs.claim_cost()
    assert cost // 2 < GRAM - gained <= cost
    again = await parties.send(
        parties.gateway, orders.claim(parties.channel, GRAM, ceiling=parties.ceiling(3 * GRAM))
    )
    assert (again.succeeded, again.exit_code, again.claimed) == (False, Err.STALE, None)


async def test_both_close_at_once(parties: Parties) -> None:
    await parties.opened()
    terms, ours, theirs = parties.terms(GRAM)
    event = await parties.send(
        parties.client,
        orders.coop_close(parties.channel, terms, client_signature=ours, gateway_signature=theirs),
    )
    assert (event.kind, event.claimed, event.refunded) == ("coop_close", GRAM, 4 * GRAM)
    now = await parties.look()
    assert now.closed
    assert now.close_at == 0
    late = await parties.send(parties.client, orders.top_up(parties.channel, GRAM))
    assert late.exit_code == Err.CLOSED
    assert parties.supply_is_even()


@pytest.mark.spec("9.1-b")
async def test_the_client_closes_alone_and_the_gateway_claims_within_the_period(
    parties: Parties,
) -> None:
    await parties.opened()
    event = await parties.send(parties.client, orders.start_close(parties.channel))
    assert event.kind == "start_close"
    assert event.close_at == (await parties.look()).close_at == event.at + HOUR
    early = await parties.send(parties.client, orders.finish_close(parties.channel))
    assert early.exit_code == Err.EARLY
    claim = orders.claim(parties.channel, GRAM, ceiling=parties.ceiling(GRAM))
    assert (await parties.send(parties.gateway, claim)).claimed == GRAM
    parties.devnet.advance(HOUR)
    ended = await parties.send(parties.client, orders.finish_close(parties.channel))
    assert (ended.claimed, ended.refunded, ended.closed) == (GRAM, 4 * GRAM, True)


@pytest.mark.spec("9.3-a")
async def test_the_gateway_closes_with_a_last_claim(parties: Parties) -> None:
    await parties.opened()
    ceiling = parties.ceiling(2 * GRAM)
    event = await parties.send(
        parties.gateway, orders.gateway_close(parties.channel, GRAM, ceiling=ceiling)
    )
    assert (event.kind, event.claimed, event.refunded) == ("gateway_close", GRAM, 4 * GRAM)
    assert (await parties.look()).closed


async def test_what_is_attached_suffices_at_ten_times_the_prices() -> None:
    dear = BASECHAIN_2026.times(8)
    for gas in Gas:
        assert costs.attached(gas) > costs.must_bring(gas, prices=dear)


async def test_a_claim_alone_costs_more_than_one_of_many() -> None:
    assert costs.claim_cost(batched=200) < costs.claim_cost() < 3 * costs.claim_cost(batched=200)


async def test_strays_and_refusals_are_told_as_such(parties: Parties, devnet: Devnet) -> None:
    await parties.opened()
    devnet.give(orders.address_of(parties.channel), GRAM)
    stranger = Stranger("stranger")
    devnet.give(stranger.address, GRAM)
    devnet.send(stranger.transfer(orders.address_of(parties.channel), GRAM // 2))
    body = orders.start_close(parties.channel)
    refused = await parties.send(parties.gateway, body)
    assert (refused.kind, refused.exit_code, refused.close_at) == ("start_close", Err.SENDER, None)
    kinds = [one.kind for one in await history(parties.chain, parties.channel)]
    assert kinds == ["top_up", "stray", "stray", "start_close"]


async def test_a_wallet_s_own_transaction_from_outside_is_no_event(parties: Parties) -> None:
    await parties.opened()
    happened = await parties.chain.transactions(parties.client.address)
    assert [event_of(one) is None for one in happened].count(True) == 1


@pytest.mark.spec("7.5-a")
async def test_other_code_at_a_channel_s_address_is_refused(parties: Parties) -> None:
    """Only where providers lie together: the address commits to the code."""
    await parties.opened()
    state = await parties.chain.account(orders.address_of(parties.channel))
    lie = dataclasses.replace(state, code=Writer().uint(1, 8).cell())
    with pytest.raises(ForeignContract):
        seen(lie, parties.channel)
    with pytest.raises(ValueError, match="another account"):
        seen(dataclasses.replace(state, address=Address((0, bytes(32)))), parties.channel)


async def test_a_look_alike_with_other_code_is_no_channel_of_ours(
    parties: Parties, devnet: Devnet
) -> None:
    """Same configuration, other code: it lives elsewhere, and our address stays empty."""
    other = state_init(Writer().uint(1, 8).cell(), payment_channel())
    assert contract_address(other) != orders.address_of(parties.channel)
    assert await look(parties.chain, parties.channel) is None


async def test_addresses_are_those_of_the_library_for_cells(parties: Parties) -> None:
    from ton.codec.storage import channel_address  # noqa: PLC0415

    config = orders.config_of(parties.channel)
    assert channel_address(payment_channel(), config) == orders.address_of(parties.channel)
    assert isinstance(parties.channel, Channel)
    assert isinstance((await parties.chain.account(parties.client.address)).last, Point)
