"""Clients that pay by channel: a real gateway, real workers, and a channel in the real TVM."""

import asyncio
import contextlib
import dataclasses
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

import bombyx
from bombyx.attestation.policy import render_policy
from bombyx.client.channel import ending, funding
from bombyx.client.channel.funder import direct_client
from bombyx.client.channel.funding import Terms
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.marks import UNREGISTERED, is_marked
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.store import ChannelStore
from bombyx.client.channel.ton_side import WalletSide
from bombyx.client.channel.wallet import channel_folders, give_back, open_payer
from bombyx.client.opening import load_identity, unix_seconds
from bombyx.errors import GatewayUnreachable, SetupError
from bombyx.money.channel.documents import ChannelView, Registration
from bombyx.money.channel.spending import AHEAD, Caps, Flight
from gateway.accounts.repository import Accounts
from gateway.channels.chain.side import TonSide
from tests.bombyx.client.channel.chain_fixtures import (
    chain,
    devnet,
    devnet_tvm,
    flaky,
    node_modules,
    outbox,
    rich,
    wall,
)
from tests.factories import seed
from tests.network.harness import MODEL, Network, network, with_policy
from ton.chain.agreed import AgreedChain
from ton.wallet.wallet import Wallet

__all__ = ["chain", "devnet", "devnet_tvm", "flaky", "node_modules", "outbox", "rich", "wall"]
GRAM = 10**9
CAPS = Caps(max_inflight=GRAM, max_daily=100 * GRAM, max_deposit=20 * GRAM)
ASK: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "tell me of the moth"}],
    "max_tokens": 32,
}


@dataclasses.dataclass
class Paying:
    """A network with a channel to it."""

    net: Network
    side: WalletSide
    root: Path
    terms: Terms
    one: Payer

    @contextlib.asynccontextmanager
    async def routes(self) -> AsyncIterator[GatewayRoutes]:
        async with direct_client() as client:
            yield GatewayRoutes(
                client, origin=self.net.url, authorization=f"Bearer {self.net.api_key}"
            )

    def sdk(self, **options: Any) -> openai.AsyncOpenAI:
        return self.net.sealed(channel=self.root, **options)


@pytest.fixture
async def paying(tmp_path: Path, chain: AgreedChain, rich: Wallet) -> AsyncIterator[Paying]:
    folder, root = tmp_path / "net", tmp_path / "client" / "channels"
    folder.mkdir()
    till = TonSide(chain, seed("the gateway's wallet"))
    async with network(folder, chain=till) as net:
        counter = net.context.counter
        assert counter is not None
        net.policy = with_policy(net, channel_keys=(counter.cashier.key.hex(),))
        side = WalletSide(chain, rich)
        terms = Terms(
            root=root,
            caps=CAPS,
            amount=5 * GRAM,
            keys=net.policy.channel_keys,
            clock=unix_seconds,
            draw=lambda size: seed(f"draw {time.monotonic_ns()}", size),
            pause=0.01,
        )
        authorization = f"Bearer {net.api_key}"
        async with direct_client() as client:
            routes = GatewayRoutes(client, origin=net.url, authorization=authorization)
            identity = await routes.identity(net.policy)
            payer = load_identity(tmp_path / "client" / "client").payer(identity, authorization)
            one = await funding.open_channel(
                routes, side, terms, identity=identity, payer=payer.public_hex, say=str
            )
        yield Paying(net, side, root, terms, one)
        one.close()


async def charged(paying: Paying) -> int:
    async with paying.routes() as routes:
        view = await routes.view(paying.one.store.name)
    assert view is not None
    assert view.reserved_nano == "0"
    return int(view.charged_nano)


async def test_a_channel_pays_from_its_opening_to_its_end(paying: Paying) -> None:
    before = await paying.net.balance()
    sdk = paying.sdk()
    answer = await sdk.chat.completions.create(**ASK)
    assert answer.usage is not None
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    async for _ in stream:
        pass
    await asyncio.gather(*(sdk.chat.completions.create(**ASK) for _ in range(20)))
    await paying.net.settled()
    one = paying.one
    assert one.purse.proven == await charged(paying) > 0
    assert one.purse.inflight == {}
    assert one.purse.at_risk <= CAPS.max_inflight
    assert await paying.net.balance() == before
    async with paying.routes() as routes:
        ended = await ending.close_together(one, routes, paying.side, say=str, pause=0.05)
    assert (ended.how, ended.claimed) == ("cooperative", one.purse.proven)
    assert ended.refunded == 5 * GRAM - one.purse.proven
    looked = await paying.side.look(one.store.channel)
    assert looked is not None
    assert looked.closed
    # Without a channel the account's credit pays again.
    await sdk.chat.completions.create(**ASK, user="after")
    await paying.net.settled()
    assert await paying.net.balance() < before


@pytest.mark.spec("7.9-i")
async def test_short_requests_follow_each_other_without_a_pause(paying: Paying) -> None:
    """The gateway settles up to a second later than the client has its receipt."""
    sdk = paying.sdk().with_options(max_retries=0)
    for _ in range(20):
        await sdk.chat.completions.create(**ASK)
    await paying.net.settled()
    assert paying.one.purse.proven == await charged(paying) > 0
    assert paying.one.purse.at_risk <= CAPS.max_inflight


async def test_the_sidecar_and_an_app_do_not_share_a_channel_across_processes(
    paying: Paying,
) -> None:
    name = paying.one.store.folder
    again = open_payer(name, CAPS, clock=unix_seconds)
    assert again is paying.one
    with pytest.raises(SetupError, match="in use by process"):
        ChannelStore(name)


async def test_lost_answers_are_proven_by_the_receipts_of_the_gateway(paying: Paying) -> None:
    stream = await paying.sdk().chat.completions.create(**{**ASK, "stream": True})
    async for _ in stream:
        break
    await stream.close()
    await paying.net.settled()
    (c,) = paying.one.purse.inflight
    async with paying.routes() as routes:
        assert paying.one.late(c, await routes.receipt(c))
    assert paying.one.purse.proven == await charged(paying)


async def test_what_a_crash_left_in_flight_does_not_hold_up_an_end_that_both_sign(
    paying: Paying,
) -> None:
    one = paying.one
    await paying.sdk().chat.completions.create(**ASK)
    await paying.net.settled()
    flight = Flight(cost=1000, deadline=unix_seconds() + 3600, day=0)
    await funding.saved(
        one.change(lambda purse: dataclasses.replace(purse, inflight={bytes(32): flight}))
    )
    async with paying.routes() as routes:
        ended = await ending.close_together(one, routes, paying.side, say=str, pause=0.05)
    assert (ended.how, ended.claimed) == ("cooperative", one.purse.proven)
    assert list(one.purse.lapsed) == [bytes(32)]


class Interrupted(GatewayRoutes):
    """Killed after the deposit left, before the gateway is told."""

    async def register(self, registration: Registration) -> ChannelView | None:
        raise GatewayUnreachable("killed")


async def test_a_channel_that_the_gateway_was_not_told_of_is_named_by_its_first_request(
    paying: Paying,
) -> None:
    root, before = paying.root.parent / "others", await paying.net.balance()
    terms = dataclasses.replace(paying.terms, root=root)
    record = paying.one.store.record
    async with direct_client() as client:
        routes = Interrupted(
            client, origin=paying.net.url, authorization=f"Bearer {paying.net.api_key}"
        )
        with pytest.raises(GatewayUnreachable):
            await funding.open_channel(
                routes, paying.side, terms, identity=record.identity, payer=record.payer, say=str
            )
    sdk = paying.net.sealed(channel=root)
    await asyncio.gather(*(sdk.chat.completions.create(**ASK) for _ in range(3)))
    await paying.net.settled()
    assert await paying.net.balance() == before
    (folder,) = channel_folders(root)
    async with paying.routes() as asked:
        view = await asked.view(folder.name)
    assert not is_marked(folder, UNREGISTERED)
    assert view is not None
    assert int(view.charged_nano) > 0


@contextlib.asynccontextmanager
async def passing_on(port: int, to: str) -> AsyncIterator[None]:
    """A port that leads to the gateway for as long as this lasts; then nobody listens there."""
    host, _, number = to.removeprefix("http://").rpartition(":")
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(number))
        writers.extend((writer, there[1]))
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.05)


@pytest.mark.spec("7.9-h")
async def test_five_times_the_cap_asked_of_a_gateway_that_is_down_blocks_nothing_once_it_is_up(
    paying: Paying,
) -> None:
    one, sdk = paying.one, paying.sdk()
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    away = sdk.with_options(base_url=f"http://127.0.0.1:{port}/v1")
    async with passing_on(port, paying.net.url):
        await away.chat.completions.create(**ASK)
    cost = one.purse.signed_max // AHEAD
    one.caps = dataclasses.replace(CAPS, max_inflight=3 * cost)
    for number in range(15):
        with pytest.raises(openai.APIConnectionError):
            await away.chat.completions.create(**ASK, user=f"user {number}")
    assert (one.purse.inflight, one.purse.lapsed) == ({}, {})
    async with passing_on(port, paying.net.url):
        await asyncio.gather(*(away.chat.completions.create(**ASK) for _ in range(3)))
    await paying.net.settled()
    assert one.purse.proven == await charged(paying)
    assert one.purse.spent_today == one.purse.proven


@pytest.mark.spec("7.9-j")
async def test_a_cap_for_one_request_pays_for_one_after_another_without_a_rest(
    paying: Paying,
) -> None:
    """Each comes while the gateway still reserves for the one before it."""
    one, sdk = paying.one, paying.sdk()
    await sdk.chat.completions.create(**ASK)
    one.caps = dataclasses.replace(CAPS, max_inflight=one.purse.signed_max // AHEAD)
    signed = one.purse.signed_max - one.purse.proven
    for _ in range(6):
        await sdk.chat.completions.create(**ASK)
    await paying.net.settled()
    assert one.purse.proven == await charged(paying)
    assert (one.purse.inflight, one.purse.lapsed) == ({}, {})
    assert one.purse.at_risk <= signed


APP = """
import sys
import bombyx, openai
policy, root, url, key, model = sys.argv[1:]
http = bombyx.http_client(policy=policy, channel=root)
sdk = openai.OpenAI(base_url=url, api_key=key, http_client=http, max_retries=0)
while True:
    messages = [{"role": "user", "content": "tell me of the moth"}]
    sdk.chat.completions.create(model=model, messages=messages, max_tokens=32)
    print("answered", flush=True)
"""


@pytest.mark.spec("7.9-b")
async def test_a_closed_client_gives_its_channel_back_unless_others_use_it(
    paying: Paying,
) -> None:
    folder, sdks = paying.one.store.folder, (paying.sdk(), paying.sdk())
    for sdk in sdks:
        await sdk.chat.completions.create(**ASK)
    give_back(paying.one)
    await sdks[0].close()
    before = paying.one.purse.proven
    await sdks[1].chat.completions.create(**ASK, user="another")
    assert paying.one.purse.proven > before
    with pytest.raises(SetupError, match="in use by process"):
        ChannelStore(folder)
    await sdks[1].close()
    ChannelStore(folder).close()


async def test_a_killed_app_closes_to_what_receipts_prove(paying: Paying, tmp_path: Path) -> None:
    paying.one.close()
    policy = tmp_path / "policy.toml"
    policy.write_text(render_policy(paying.net.policy))
    given = (str(policy), str(paying.root), paying.net.base_url, paying.net.api_key, MODEL)
    for answers in (1, 3):
        app = await asyncio.create_subprocess_exec(
            sys.executable, "-c", APP, *given, stdout=asyncio.subprocess.PIPE
        )
        assert app.stdout is not None
        for _ in range(answers):
            assert await asyncio.wait_for(app.stdout.readline(), 60) == b"answered\n"
        app.kill()
        await app.wait()
    await paying.net.settled()
    one = open_payer(paying.one.store.folder, CAPS, clock=unix_seconds)
    total = await charged(paying)
    assert one.purse.proven <= total <= one.purse.signed_max
    async with paying.routes() as routes:
        ended = await ending.close_together(one, routes, paying.side, say=str, pause=0.05)
    assert ended.claimed == total == one.purse.proven
    one.close()


async def test_a_stock_client_without_a_wallet_is_told_what_to_do(paying: Paying) -> None:
    poor = await poor_account(paying.net)
    with pytest.raises(openai.APIStatusError) as caught:
        await poor.chat.completions.create(**ASK)
    assert caught.value.status_code == 402
    assert "bombyx channel open" in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"


async def poor_account(net: Network) -> openai.AsyncOpenAI:
    accounts = Accounts(net.context.engine)
    account = await accounts.create("poor")
    _, key = await accounts.create_key(account.id, name="poor")
    http = bombyx.async_http_client(policy=net.policy)
    net.stack.push_async_callback(http.aclose)
    return openai.AsyncOpenAI(
        base_url=net.base_url, api_key=key.secret, http_client=http, max_retries=0
    )
