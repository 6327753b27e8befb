"""Claims that the database lost, of requests that a channel pays (SPEC 5.3, 7.6)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bombyx import canonical
from bombyx.link.frames import LinkType
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status
from gateway.metering.rows import Disposition
from tests.network import books
from tests.network.asking import judged
from tests.network.channels import Client, FakeChain, cost_of, fresh_salt
from tests.network.harness import Network, network
from tests.network.liar import Liar, liar, replacing


@asynccontextmanager
async def lost(
    folder: Path, forgotten: str
) -> AsyncIterator[tuple[Network, Client, Liar, Receipt]]:
    """A request was answered and its claim is gone, with what else the channel's row forgot."""
    chain = FakeChain()
    async with network(folder, workers=0, chain=chain) as net, liar(net) as one:
        client = Client(net, chain, fresh_salt()).deploy()
        assert (await client.register()).status_code == 200
        task = asyncio.create_task(client.ask(await cost_of(net)))
        job = await one.job()
        await one.begin(job)
        await one.token(job)
        await one.word(job, LinkType.RESET, b"gone")
        await task
        statement = replacing(status=Status.ABORTED)(one.statement(job))
        await books.execute(net, "DELETE FROM claim")
        await books.execute(net, f"UPDATE channel SET reserved = 0{forgotten}")
        yield net, client, one, one.receipt(statement)
        assert await net.context.store.uneven_channels() == []
        assert await net.context.store.billing_gap() == 0


@pytest.mark.spec("5.3-b")
async def test_a_lost_claim_is_rebuilt_from_its_ticket_and_its_channel_pays(
    tmp_path: Path,
) -> None:
    async with lost(tmp_path, "") as (net, client, one, receipt):
        before = await net.balance()
        await one.document(LinkType.STATEMENT, canonical.encode(receipt))
        (stored,) = await judged(net, bytes.fromhex(receipt.statement.c))
        assert stored.disposition is Disposition.BILLED
        row = await client.row()
        assert (row.charged, row.reserved) == (int(receipt.statement.charge_nano), 0)
        assert await net.balance() == before


async def test_a_statement_waits_for_the_voucher_that_was_lost_with_its_claim(
    tmp_path: Path,
) -> None:
    async with lost(tmp_path, ", ceiling = 0") as (net, client, one, receipt):
        c = bytes.fromhex(receipt.statement.c)
        await one.document(LinkType.STATEMENT, canonical.encode(receipt))
        await one.document(LinkType.PING, bytes(8))
        async with asyncio.timeout(5):
            while not one.pongs:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert await net.context.store.receipts_of(c) == []
        # The client's next voucher is at least as high, since it knows what it signed.
        await books.execute(net, "UPDATE channel SET ceiling = ?", await cost_of(net))
        await one.document(LinkType.STATEMENT, canonical.encode(receipt))
        (stored,) = await judged(net, c)
        assert stored.disposition is Disposition.BILLED
        assert (await client.row()).charged == int(receipt.statement.charge_nano)
