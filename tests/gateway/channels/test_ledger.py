"""Money that comes from a chain, booked once and never more than there is (SPEC 5.4)."""

import pytest

from bombyx.errors import ChannelBooks
from gateway.channels.ledger import MAX_ON_CHAIN, ensure_account, move, writing
from gateway.channels.rows import chain_account
from gateway.database import create_engine
from gateway.metering.port import Store
from tests.gateway.metering.samples import posted

CHAIN = chain_account(-3)


async def book(url: str, amount: int) -> bool:
    engine = create_engine(url)
    try:
        async with writing(engine) as connection:
            await ensure_account(connection, CHAIN)
            return await move(
                connection, CHAIN, "alice", amount=amount, kind="deposit", txn="lt:1", ref="x"
            )
    finally:
        await engine.dispose()


async def test_a_transaction_is_booked_once(store: Store, database_url: str) -> None:
    assert [await book(database_url, 5), await book(database_url, 5)] == [True, False]
    assert (await posted(database_url, "alice"), await posted(database_url, CHAIN)) == (1_005, -5)
    assert await store.ledger_sum() == 0


@pytest.mark.parametrize("amount", [0, -1, MAX_ON_CHAIN + 1])
async def test_no_amount_that_cannot_be_is_booked(
    store: Store, database_url: str, amount: int
) -> None:
    with pytest.raises(ChannelBooks):
        await book(database_url, amount)
    assert await posted(database_url, "alice") == 1_000
    assert await store.ledger_sum() == 0
