"""Vendors on loopback, a clock in the test's hand, and a service over a real database."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.collateral.repository import Shelf
from gateway.collateral.service import CollateralService
from gateway.collateral.vendors import Vendors as Asked
from gateway.database import create_engine
from tests.gateway.collateral.vendors import NOW, Vendors, vendors


@dataclass
class Clock:
    """Unix seconds, and the same as monotonic ones."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Desk:
    """A service and what is around it."""

    service: CollateralService
    vendors: Vendors
    clock: Clock
    shelf: Shelf

    def another(self, **changes: object) -> CollateralService:
        """Another process over the same database."""
        return CollateralService(
            self.shelf,
            Asked.of(self.vendors.settings(**changes)),
            unix=self.clock,
            now=self.clock,
            draw=lambda: 0.5,
        )


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """On SQLite and on PostgreSQL."""
    async for one in _desk(database_url):
        yield one


@pytest.fixture
async def lite(sqlite_url: str) -> AsyncIterator[Desk]:
    """On SQLite alone, where the database plays no part."""
    async for one in _desk(sqlite_url):
        yield one


async def _desk(url: str) -> AsyncIterator[Desk]:
    engine, clock = create_engine(url), Clock()
    async with vendors() as around:
        shelf = Shelf(engine)
        service = CollateralService(
            shelf, Asked.of(around.settings()), unix=clock, now=clock, draw=lambda: 0.5
        )
        try:
            yield Desk(service, around, clock, shelf)
        finally:
            await service.close()
            await engine.dispose()
