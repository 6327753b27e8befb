"""A funded store on each database; after the test its books must be even."""

from collections.abc import AsyncIterator

import pytest

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
    finally:
        await opened.close()
