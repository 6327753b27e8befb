"""A network for the checks of a module, and a key with limits, so that none is skipped."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from bombyx.conformance.server import Server
from gateway.accounts.repository import Accounts
from gateway.metering.rows import KeyLimits
from tests.bombyx.conformance.wrong import WrongServer, wrong_server
from tests.network.harness import MODEL, Network, network

LIMITS = KeyLimits(requests=60_000, tokens=10**8, slots=16)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with network(tmp_path_factory.mktemp("conformance")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(net: Network) -> str:
    accounts = Accounts(net.context.engine)
    _, made = await accounts.create_key(net.account, name="limited", limits=LIMITS)
    return made.secret


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(net: Network, http: httpx2.AsyncClient, key: str) -> Server:
    return Server(http, base=net.base_url, key=key, model=MODEL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wrong(net: Network) -> AsyncIterator[WrongServer]:
    async with wrong_server(net.url) as standing:
        yield standing
