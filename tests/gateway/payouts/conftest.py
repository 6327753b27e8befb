"""Payout channels on each database, and books that are even after the test."""

from collections.abc import AsyncIterator

import pytest

from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.metering.stores import open_store
from gateway.payouts.repository import Payouts, uneven_payouts
from tests.bombyx.money.channel.parties import NETWORK
from tests.gateway.metering import samples
from tests.gateway.payouts.chain_side import side
from tests.ton.conftest import base_config, node_modules
from tests.ton.devnet.fixtures import devnet, devnet_tvm, running, wall
from tests.ton.wallet.fixtures import chain, flaky

__all__ = [
    "base_config",
    "chain",
    "devnet",
    "devnet_tvm",
    "flaky",
    "node_modules",
    "running",
    "side",
    "wall",
]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    await samples.fund(database_url, amount=10**10)
    opened = await open_store(database_url)
    try:
        yield opened
        assert await opened.ledger_sum() == 0
        assert await opened.billing_gap() == 0
        assert await opened.unposted() == []
        assert await opened.overcommitted() == []
    finally:
        await opened.close()


@pytest.fixture
async def epoch(store: Store) -> int:
    return await store.open_process(1, "wss://gw")


@pytest.fixture
async def payouts(store: Store, database_url: str) -> AsyncIterator[Payouts]:
    """After `store`, whose checks then run last."""
    assert store is not None
    engine = create_engine(database_url)
    yield Payouts(engine, network=NETWORK)
    assert await uneven_payouts(engine) == []
    await engine.dispose()
