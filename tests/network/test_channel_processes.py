"""One channel, two processes of a gateway on one PostgreSQL (SPEC 7.6, 10.6)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.admin.reconcile import reconcile
from tests.network.channels import Client, FakeChain, cost_of, fresh_salt
from tests.network.harness import network
from tests.network.requests import error_of
from tests.network.test_forwarding import Pair, second

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest_asyncio.fixture
async def paying(tmp_path: Path, postgres_url: str) -> AsyncIterator[tuple[Pair, Client]]:
    """A worker is linked to the first process alone, the channel registered there too."""
    chain = FakeChain()
    async with (
        network(tmp_path, workers=0, database_url=postgres_url, chain=chain) as net,
        second(net, chain) as pair,
    ):
        await net.add_worker(gateway=(net.context.link_url,))
        await pair.look()
        client = Client(net, chain, fresh_salt()).deploy()
        assert (await client.register()).status_code == 200
        yield pair, client
        await pair.settled()
        store = net.context.store
        assert await store.uneven_channels() == []
        assert (await store.billing_gap(), await store.ledger_sum()) == (0, 0)
        assert (await reconcile(net.context.engine)).differences == []


@pytest.mark.spec("7.6-b")
async def test_the_voucher_goes_with_a_request_to_the_process_that_has_the_link(
    paying: tuple[Pair, Client],
) -> None:
    pair, client = paying
    cost = await cost_of(pair.net)
    refused = await client.ask(url=pair.url)
    assert error_of(refused) == (402, "voucher_required")
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["payment"]["accepts"][0]["books"]["need"] == str(cost)
    assert (await client.ask(cost, url=pair.url)).status_code == 200
    await pair.settled()
    assert 0 < (await client.row()).charged < cost


@pytest.mark.spec("7.7-a")
async def test_processes_that_race_for_one_channel_never_pass_its_ceiling(
    paying: tuple[Pair, Client],
) -> None:
    pair, client = paying
    await pair.net.add_worker(gateway=(pair.other.link_url,))
    await pair.look()
    cost = await cost_of(pair.net)
    urls = [pair.net.url, pair.url]
    asked = [client.ask(5 * cost, f"pace: 5\ncount: {n}", url=urls[n % 2]) for n in range(20)]
    answers = await asyncio.gather(*asked)
    await pair.settled()
    served = [one for one in answers if one.status_code == 200]
    others = {error_of(one) for one in answers if one.status_code != 200}
    assert len(served) >= 5
    assert others <= {(402, "voucher_required")}
    row = await client.row()
    assert row.reserved == 0
    assert 0 < row.charged <= row.ceiling.amount == 5 * cost
