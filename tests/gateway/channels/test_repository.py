"""What the chain and a channel's client may do to its row (SPEC 7.5 to 9.4), on both databases."""

import asyncio

import pytest

from bombyx.errors import (
    ChannelClosed,
    ChannelClosing,
    ChannelNotFound,
    ChannelNotOurs,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
)
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.units import MAX_NANO
from gateway.channels.repository import Channels
from gateway.channels.rows import chain_account, channel_account
from gateway.metering.port import Store
from tests.bombyx.money.channel.parties import CHANNEL, NETWORK, config
from tests.gateway.channels.samples import ID, other_channel, paid_claim
from tests.gateway.metering.samples import execute, fund, nothing, posted, settlement

NOW = 1_000_000


async def test_a_channel_is_read_back_as_it_was_registered(channels: Channels) -> None:
    made = await channels.register(CHANNEL, "alice")
    assert (made.owner, made.row, made.channel.config) == ("alice", ChannelRow(), config())
    assert (await channels.row(ID)).channel.account == CHANNEL.account
    assert (await channels.register(CHANNEL, "alice")).created_at == made.created_at


async def test_the_largest_salt_is_kept(channels: Channels) -> None:
    other = other_channel(2**64 - 1)
    await channels.register(other, "alice")
    assert (await channels.row(other.account.hex())).channel.config.salt == 2**64 - 1


@pytest.mark.parametrize(
    "act",
    [
        lambda channels: channels.row(ID),
        lambda channels: channels.fund(ID, 1),
        lambda channels: channels.close_started(ID, 1),
        lambda channels: channels.claimed(ID, 1),
        lambda channels: channels.rolled_back(ID, 1),
        lambda channels: channels.closed(ID),
        lambda channels: channels.close_asked(ID),
    ],
)
async def test_an_unknown_channel_is_said_to_be_unknown(channels: Channels, act: object) -> None:
    with pytest.raises(ChannelNotFound):
        await act(channels)  # type: ignore[operator]
    assert await channels.find(ID) is None


async def test_a_channel_belongs_to_who_registered_it(
    channels: Channels, database_url: str
) -> None:
    await fund(database_url, "eve")
    await channels.register(CHANNEL, "alice")
    with pytest.raises(ChannelNotOurs):
        await channels.register(CHANNEL, "eve")
    assert [one.owner for one in await channels.of_account("alice")] == ["alice"]
    assert await channels.of_account("eve") == []


async def test_a_channel_registered_twice_at_once_is_one(channels: Channels) -> None:
    both = await asyncio.gather(*(channels.register(CHANNEL, "alice") for _ in range(4)))
    assert {one.id for one in both} == {ID}
    assert len(await channels.open_channels()) == 1


async def test_a_deposit_is_booked_once_however_often_it_is_seen(
    channels: Channels, database_url: str
) -> None:
    await channels.register(CHANNEL, "alice")
    await asyncio.gather(*(channels.fund(ID, 500) for _ in range(3)))
    stored = await channels.fund(ID, 800)
    assert stored.row.deposited == 800
    assert await posted(database_url, channel_account(ID)) == 800
    assert await posted(database_url, chain_account(NETWORK)) == -800
    rows = await execute(database_url, "SELECT amount_nano FROM ledger_entry WHERE kind='deposit'")
    assert sorted(row[0] for row in rows) == [-500, -300, 300, 500]


async def test_a_provider_that_lags_takes_no_deposit_away(channels: Channels) -> None:
    await channels.register(CHANNEL, "alice")
    await channels.fund(ID, 500)
    assert (await channels.fund(ID, 100)).row.deposited == 500


async def test_a_deposit_above_all_amounts_counts_as_the_largest(channels: Channels) -> None:
    await channels.register(CHANNEL, "alice")
    assert (await channels.fund(ID, 2**100)).row.deposited == MAX_NANO


async def test_claims_only_grow_and_never_beyond_what_was_charged(
    channels: Channels, store: Store
) -> None:
    await paid_claim(channels, store, 1)
    await store.settle([settlement(1)])
    assert (await channels.claimed(ID, 40)).row.claimed == 40
    assert (await channels.claimed(ID, 30)).row.claimed == 40
    with pytest.raises(ChannelRolledBack):
        await channels.claimed(ID, 56)
    assert (await channels.row(ID)).row.claimed == 40


@pytest.mark.spec("7.7-b")
async def test_a_channel_that_paid_more_than_we_know_is_halted_and_noted(
    channels: Channels, database_url: str
) -> None:
    await channels.register(CHANNEL, "alice")
    stored = await channels.rolled_back(ID, 77)
    assert (stored.row.halted, stored.row.claimed) == (True, 77)
    actions = await execute(database_url, "SELECT action FROM audit_log ORDER BY id")
    assert [row[0] for row in actions] == ["channel.register", "channel.halt"]


async def test_of_two_reported_closes_the_earlier_counts(channels: Channels) -> None:
    await channels.register(CHANNEL, "alice")
    await channels.close_started(ID, NOW + 50)
    stored = await channels.close_started(ID, NOW)
    assert (stored.row.closing, stored.row.close_at) == (True, NOW)


async def test_a_tombstone_pays_back_what_was_not_charged(
    channels: Channels, store: Store, database_url: str
) -> None:
    await paid_claim(channels, store, 1)
    await store.settle([settlement(1)])
    for _ in range(2):
        stored = await channels.closed(ID)
        assert stored.row.closed
    assert await posted(database_url, channel_account(ID)) == 0
    assert await posted(database_url, chain_account(NETWORK)) == -55
    assert await channels.open_channels() == []


async def test_what_runs_when_a_channel_closes_is_settled_and_then_paid_back(
    channels: Channels, store: Store, database_url: str
) -> None:
    await paid_claim(channels, store, 1)
    await channels.closed(ID)
    assert await posted(database_url, channel_account(ID)) == 100
    await store.settle([settlement(1)])
    assert await posted(database_url, channel_account(ID)) == 45
    await channels.closed(ID)
    assert await posted(database_url, channel_account(ID)) == 0


@pytest.mark.spec("9.2-a")
async def test_terms_are_signed_only_while_closing_with_nothing_reserved(
    channels: Channels, store: Store
) -> None:
    await paid_claim(channels, store, 1)
    until = NOW + 600
    with pytest.raises(CloseNotAsked):
        await channels.sign_close_terms(ID, valid_until=until, now=NOW)
    await channels.close_asked(ID)
    with pytest.raises(CloseInFlight):
        await channels.sign_close_terms(ID, valid_until=until, now=NOW)
    await store.settle([nothing(1)])
    stored = await channels.sign_close_terms(ID, valid_until=until, now=NOW)
    assert stored.row.terms_until == until
    assert (await channels.row(ID)).row.terms_until == until


async def test_a_close_that_came_to_nothing_is_taken_back_after_its_terms(
    channels: Channels,
) -> None:
    await channels.register(CHANNEL, "alice")
    await channels.close_asked(ID)
    await channels.sign_close_terms(ID, valid_until=NOW + 600, now=NOW)
    with pytest.raises(ChannelClosing):
        await channels.reopened(ID, now=NOW + 900)
    assert not (await channels.reopened(ID, now=NOW + 901)).row.closing


async def test_nobody_asks_for_the_end_of_a_tombstone(channels: Channels) -> None:
    await channels.register(CHANNEL, "alice")
    await channels.closed(ID)
    with pytest.raises(ChannelClosed):
        await channels.close_asked(ID)


async def test_open_channels_come_in_pages(channels: Channels) -> None:
    made = [other_channel(salt) for salt in range(5)]
    for channel in made:
        await channels.register(channel, "alice")
    ids = sorted(channel.account.hex() for channel in made)
    first = await channels.open_channels(limit=3)
    rest = await channels.open_channels(after=first[-1].id)
    assert [one.id for one in [*first, *rest]] == ids
    newest = await channels.of_account("alice", limit=2)
    assert len(newest) == 2
