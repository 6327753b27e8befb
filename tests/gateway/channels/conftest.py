"""An account, the rows of channels on each database, and books that are even after the test."""

from collections.abc import AsyncIterator

import pytest

from gateway.channels.repository import Channels
from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.metering.stores import open_store
from tests.gateway.metering import samples


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    await samples.fund(database_url)
    opened = await open_store(database_url)
    try:
        yield opened
        assert await opened.ledger_sum() == 0
        assert await opened.billing_gap() == 0
        assert await opened.unposted() == []
        assert await opened.overcommitted() == []
        assert await opened.uneven_channels() == []
    finally:
        await opened.close()


@pytest.fixture
async def channels(store: Store, database_url: str) -> AsyncIterator[Channels]:
    """After `store`, whose checks then run last."""
    assert store is not None
    engine = create_engine(database_url)
    yield Channels(engine)
    await engine.dispose()
