"""The outbox in the gateway's database keeps what every outbox does."""

from collections.abc import AsyncIterator

import pytest

from gateway.channels.chain.outbox import SqlOutbox
from gateway.database import create_engine
from tests.ton.wallet.fixtures import OWN, SOMEBODY
from tests.ton.wallet.outbox_contract import EVERYTHING, OutboxContract
from ton.settings import DEVNET, MAINNET
from ton.wallet.outbox import Outbox


class TestSqlOutbox(OutboxContract):
    """See there; on each database."""

    @pytest.fixture
    async def box(self, database_url: str) -> AsyncIterator[Outbox]:
        engine = create_engine(database_url)
        yield SqlOutbox(engine, network=DEVNET, source=OWN)
        await engine.dispose()


async def test_wallets_and_networks_know_nothing_of_each_other(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    await SqlOutbox(engine, network=DEVNET, source=OWN).put("one", EVERYTHING)
    assert await SqlOutbox(engine, network=MAINNET, source=OWN).get("one") is None
    other = SqlOutbox(engine, network=DEVNET, source=SOMEBODY)
    assert await other.get("one") is None
    assert not await other.withdraw("one")
    assert await SqlOutbox(engine, network=DEVNET, source=OWN).get("one") is not None
    await engine.dispose()
