"""One owner's trouble is no other's, and goes away when it is over."""

import pytest

from bombyx.money.channel.payout_documents import nobodys_key
from gateway.channels.chain.troubles import BROKEN
from gateway.payouts.keeper import Keeper
from tests.gateway.payouts.chain_side import Side
from tests.gateway.payouts.samples import earn, kept, live
from tests.ton.channels.parties import GRAM, wallet_on
from ton.channels import orders
from ton.codec.cells import raw
from ton.wallet.wallet import Wallet


def told(side: Side) -> set[tuple[str, str]]:
    return {(one.word, one.subject) for one in side.parts.task.troubles()}


def keeper_of(side: Side) -> Keeper:
    keeper = side.parts.task.keeper
    assert keeper is not None
    return keeper


async def earns(side: Side, wallet: Wallet, amount: int) -> str:
    """Another owner's worker did so much."""
    owner = raw(wallet.address)
    await side.payouts.meet(f"of {owner}", owner, nobodys_key(wallet.account))
    side.count += 1
    await earn(side.store, side.epoch, side.count, amount, owner=owner)
    return owner


def broken_once(answer: int) -> object:
    """What a part that draws or asks for something gets: a failure, and then this."""
    calls = []

    def ask() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        return answer + len(calls)

    return ask


async def test_an_owner_whose_channel_cannot_begin_holds_no_other_up(side: Side) -> None:
    owners = {
        await earns(side, side.owner_wallet, GRAM),
        await earns(side, wallet_on(side.chain, "another owner"), GRAM),
    }
    keeper_of(side).salt = broken_once(5)  # type: ignore[assignment]
    await side.rounds()
    begun = {owner for owner in owners if await live(side.url, owner) is not None}
    assert len(begun) == 1
    assert told(side) == {(BROKEN, owner) for owner in owners - begun}
    await side.rounds(4)
    for owner in owners:
        stored = await live(side.url, owner)
        assert stored is not None
        assert stored.deposited > 0
    assert told(side) == set()


async def test_an_owner_whose_channel_cannot_be_filled_holds_no_other_up(side: Side) -> None:
    other = wallet_on(side.chain, "another owner")
    owners = [await earns(side, one, GRAM) for one in (side.owner_wallet, other)]
    await side.rounds(4)
    before = {owner: await live(side.url, owner) for owner in owners}
    for one in (side.owner_wallet, other):
        await earns(side, one, 4 * GRAM)
    keeper = keeper_of(side)
    clock = keeper.unix
    keeper.unix = broken_once(clock())  # type: ignore[assignment]
    await side.rounds()
    after = {owner: await live(side.url, owner) for owner in owners}
    risen = {o for o in owners if after[o].ordered > before[o].ordered}  # type: ignore[union-attr]
    assert len(risen) == 1
    assert told(side) == {(BROKEN, owner) for owner in set(owners) - risen}
    await side.rounds(4)
    for owner in owners:
        stored = await live(side.url, owner)
        assert stored is not None
        assert stored.deposited >= 5 * GRAM
    assert told(side) == set()


async def test_an_owner_who_is_owed_nothing_any_more_is_no_trouble(side: Side) -> None:
    owner = await earns(side, side.owner_wallet, GRAM)
    keeper = keeper_of(side)
    keeper.salt = broken_once(5)  # type: ignore[assignment]
    await side.rounds()
    assert told(side) == {(BROKEN, owner)}
    # Another process begins the channel meanwhile.
    async with side.another() as other:
        await other.task.round()
    keeper.salt = broken_once(5)  # type: ignore[assignment]
    await side.rounds()
    assert told(side) == set()


@pytest.mark.spec("8.1-a")
async def test_books_that_forgot_vouchers_are_told_until_they_vouch_for_more(side: Side) -> None:
    stored = await side.begin()
    forgotten = side.ceiling(stored.channel, 3 * GRAM // 2)
    claim = orders.claim(stored.channel, forgotten.amount, ceiling=forgotten)
    await side.send(side.owner_wallet, claim)
    await side.rounds(3)
    assert told(side) == {("payout_forgotten", stored.id)}
    await side.earn(GRAM)
    await side.rounds(2)
    await side.vouch()
    await side.rounds()
    assert told(side) == set()


@pytest.mark.parametrize("by_another", [False, True], ids=["seen here", "seen by another process"])
async def test_books_that_forgot_vouchers_are_no_trouble_once_the_channel_ended(
    side: Side, by_another: bool
) -> None:
    stored = await side.begin()
    forgotten = side.ceiling(stored.channel, 3 * GRAM // 2)
    claim = orders.claim(stored.channel, forgotten.amount, ceiling=forgotten)
    await side.send(side.owner_wallet, claim)
    await side.rounds()
    assert told(side) == {("payout_forgotten", stored.id)}
    end = orders.gateway_close(stored.channel, forgotten.amount, ceiling=forgotten)
    await side.send(side.owner_wallet, end)
    if by_another:
        await side.payouts.closed(stored.id)
    await side.rounds()
    ended = await kept(side.url, stored.id)
    assert ended is not None
    assert ended.closed
    assert ("payout_forgotten", stored.id) not in told(side)
