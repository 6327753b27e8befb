"""SPEC 10.5 and 10.6: two processes of one gateway on one PostgreSQL, in one loop."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import httpx2
import pytest
import pytest_asyncio

from bombyx.link.processes import parse_processes
from bombyx.link.standing import parse_standing
from gateway.accounts.limits import write_limits
from gateway.accounts.repository import Accounts
from gateway.app import open_context
from gateway.channels.port import ChainSide
from gateway.context import Context
from gateway.metering.rows import KeyLimits, StoredClaim
from gateway.processes.hop import HOP_HEADER
from gateway.processes.neighbours import LINKS
from gateway.serve import bind, link_url_of
from gateway.settings import GatewaySettings
from tests.network.harness import CREDIT, MODEL, Network, network, serving
from tests.network.requests import CHAT, SEALED, bearer, body, directory, error_of, http, seal

pytestmark = pytest.mark.asyncio(loop_scope="function")


class Pair:
    """`net` is the process of slot 0, which workers are linked to; `other` that of slot 1."""

    def __init__(self, net: Network, other: Context, url: str) -> None:
        self.net = net
        self.other = other
        self.url = url

    async def look(self) -> None:
        """Both know what the other has."""
        await self.net.context.neighbours.look()
        await self.other.neighbours.look()

    async def ask_other(
        self, content: bytes, *, media: str = SEALED, key: str | None = None, **headers: str
    ) -> httpx2.Response:
        async with http() as client:
            given = {"content-type": media, **bearer(key or self.net.api_key), **headers}
            return await client.post(self.url + CHAT, content=content, headers=given)

    async def claims(self) -> list[StoredClaim]:
        store = self.net.context.store
        return list(await store.unsettled_before(2**53, 100))

    async def settled(self) -> None:
        async with asyncio.timeout(10):
            while await self.claims():
                await asyncio.sleep(0.02)

    async def slot_of(self, c: bytes) -> int:
        return (await self.net.context.store.find_claims([c]))[c].slot


@contextlib.asynccontextmanager
async def second(net: Network, chain: ChainSide | None = None) -> AsyncIterator[Pair]:
    """Another process on the same keys and database."""
    database = net.context.settings.database_url
    settings = GatewaySettings(database_url=database, shutdown_grace_s=1, slot=1)
    sock = bind("127.0.0.1", 0)
    link_url = link_url_of(settings, sock)
    async with (
        open_context(
            settings, state=net.folder, policy=net.policy, link_url=link_url, chain=chain
        ) as context,
        serving(context, sock) as url,
    ):
        yield Pair(net, context, url)


@pytest_asyncio.fixture
async def pair(tmp_path: Path, postgres_url: str) -> AsyncIterator[Pair]:
    """Workers are linked to the first process alone."""
    async with network(tmp_path, workers=0, database_url=postgres_url) as net, second(net) as both:
        await net.add_worker(gateway=(net.context.link_url,))
        await both.look()
        yield both


async def test_a_sealed_request_is_answered_by_the_process_that_has_the_link(pair: Pair) -> None:
    listed = await directory(pair.net)
    sealed = seal(pair.net, listed.workers, body("count: 50"))
    answer = await pair.ask_other(sealed.encode(), origin="https://app.example")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-bombyx-id"]
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert await pair.slot_of(sealed.c) == 0
    assert not len(pair.other.runs)
    await pair.settled()
    store = pair.net.context.store
    assert [one.disposition.value for one in await store.receipts_of(sealed.c)] == ["billed"]
    assert await pair.net.balance() < CREDIT
    assert await store.billing_gap() == 0
    again = await pair.ask_other(sealed.encode())
    assert again.content == answer.content  # joined where it ran


async def test_a_bare_request_is_answered_too_whole_and_streamed(pair: Pair) -> None:
    for stream in (False, True):
        content = json.dumps(body("say: one two", stream=stream)).encode()
        answer = await pair.ask_other(content, media="application/json")
        assert answer.status_code == 200, answer.text
        assert "one" in answer.text
        assert answer.headers["x-bombyx-tier"] == "bare"
        assert answer.text.endswith("data: [DONE]\n\n") is stream
    await pair.settled()


async def test_what_is_linked_elsewhere_is_listed_here(pair: Pair) -> None:
    async with http() as client:
        for path in (
            "/v1/models",
            f"/v1/confidential/workers?model={MODEL}",
            f"/v1/models/{MODEL}",
        ):
            here, there = [
                (await client.get(url + path, headers=bearer(pair.net.api_key))).json()
                for url in (pair.net.url, pair.url)
            ]
            for one in (here, there):
                one.pop("now", 0)
                for model in (*one.get("data", ()), one):
                    model.pop("created", 0)
            assert here == there


async def test_limits_count_a_handed_on_request_once(pair: Pair) -> None:
    accounts = Accounts(pair.net.context.engine)
    record, key = await accounts.create_key(pair.net.account, name="limited")
    limits = KeyLimits(requests=2)
    await write_limits(pair.net.context.engine, record.id, limits, actor="test")
    content = json.dumps(body("say: hi", stream=False)).encode()
    found = [
        (await pair.ask_other(content, media="application/json", key=key.secret)).status_code
        for _ in range(5)
    ]
    assert set(found) == {200, 429}
    assert 2 <= found.count(200) <= 4  # more than two where a minute ended in between


@pytest.mark.spec("10.6-a")
async def test_what_was_handed_on_is_not_handed_on_again(pair: Pair) -> None:
    header = {HOP_HEADER.decode(): "whatever"}
    content = json.dumps(body("say: hi")).encode()
    answer = await pair.ask_other(content, media="application/json", **header)
    assert error_of(answer) == (404, "model_not_found")
    listed = await directory(pair.net)
    sealed = seal(pair.net, listed.workers, body("say: hi"))
    assert error_of(await pair.ask_other(sealed.encode(), **header)) == (422, "no_candidate")


@pytest.mark.spec("10.6-b")
async def test_strangers_ask_nothing_below_a_link_s_path(pair: Pair) -> None:
    base = pair.net.url + "/v1/workers/link/0"
    key = pair.other.hop
    wrong = key.show(LINKS, slot=1, epoch=pair.net.context.meter.epoch, now=0)
    async with http() as client:
        for shown in ({}, {HOP_HEADER.decode(): wrong}):
            headers = {**bearer(pair.net.api_key), **shown}
            assert (await client.get(base + LINKS, headers=headers)).status_code == 401
            media = {"content-type": "application/json"}
            sent = await client.post(
                base + CHAT, content=json.dumps(body("hi")).encode(), headers=headers | media
            )
            assert error_of(sent) == (401, "invalid_api_key")


async def test_a_client_that_leaves_stops_the_worker_through_the_hop(pair: Pair) -> None:
    sealed = seal(
        pair.net, (await directory(pair.net)).workers, body("pace: 20\ncount: 1000", stream=True)
    )
    async with http() as client:
        headers = {"content-type": SEALED, **bearer(pair.net.api_key)}
        async with client.stream(
            "POST", pair.url + CHAT, content=sealed.encode(), headers=headers
        ) as answer:
            async for _ in answer.aiter_raw():
                break
    await pair.settled()
    (receipt,) = await pair.net.context.store.receipts_of(sealed.c)
    assert receipt.status == "aborted"


async def test_a_neighbour_that_is_gone_is_not_waited_for(pair: Pair) -> None:
    sealed = seal(pair.net, (await directory(pair.net)).workers, body("say: hi"))
    (neighbour,) = pair.other.neighbours.known.values()
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    gone = type(neighbour.row)(0, neighbour.row.epoch, f"ws://127.0.0.1:{port}/x/0", draining=False)
    neighbour.row = gone
    assert error_of(await pair.ask_other(sealed.encode())) == (422, "no_candidate")
    assert (
        pair.other.neighbours.holding([one.worker for one in pair.net.context.registry.all()]) == []
    )


async def test_a_neighbour_that_stops_meanwhile_did_not_look_at_it(pair: Pair) -> None:
    sealed = seal(pair.net, (await directory(pair.net)).workers, body("say: hi"))
    pair.net.context.draining = True
    assert error_of(await pair.ask_other(sealed.encode())) == (422, "no_candidate")


async def test_a_process_that_stops_hands_on_what_still_comes(
    tmp_path: Path, postgres_url: str
) -> None:
    async with network(tmp_path, workers=1, database_url=postgres_url) as net, second(net) as pair:
        await pair.look()
        async with asyncio.timeout(10):
            while not pair.other.registry.all():
                await asyncio.sleep(0.02)
        await pair.look()
        pair.other.draining = True
        sealed = seal(net, (await directory(net)).workers, body("say: hi"))
        answer = await pair.ask_other(sealed.encode())
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        assert await pair.slot_of(sealed.c) == 0
        async with http() as client:
            assert (await client.get(pair.url + "/readyz")).status_code == 503
            listed = parse_processes((await client.get(pair.url + "/v1/gateways")).content)
        assert [(one.slot, one.draining) for one in listed.data] == [(0, False), (1, True)]
        pair.other.draining = False
        await pair.settled()


async def test_the_same_bytes_at_another_process_never_run_twice(
    tmp_path: Path, postgres_url: str
) -> None:
    async with network(tmp_path, workers=1, database_url=postgres_url) as net, second(net) as pair:
        await pair.look()
        async with asyncio.timeout(10):  # the worker finds the second process by itself
            while not pair.other.registry.all():
                await asyncio.sleep(0.02)
        sealed = seal(net, (await directory(net)).workers, body("pace: 20\ncount: 40"))
        running = asyncio.create_task(pair.ask_other(sealed.encode()))
        async with asyncio.timeout(5):
            while pair.other.runs.get(sealed.c.hex()) is None or not await pair.claims():
                await asyncio.sleep(0.01)
        async with http() as client:
            headers = {"content-type": SEALED, **bearer(net.api_key)}
            found = await client.post(net.url + CHAT, content=sealed.encode(), headers=headers)
            assert error_of(found) == (409, "in_progress")
            assert (await running).status_code == 200
            await pair.settled()
            found = await client.post(net.url + CHAT, content=sealed.encode(), headers=headers)
        assert error_of(found) == (409, "outcome")
        charged = CREDIT - await net.balance()
        assert int(found.json()["receipt"]["statement"]["charge_nano"]) == charged
        assert await pair.slot_of(sealed.c) == 1


@pytest.mark.spec("10.5-c")
async def test_a_link_to_the_wrong_slot_is_sent_to_the_right_one(pair: Pair) -> None:
    base = pair.net.url.replace("http", "ws") + "/v1/workers/link/"
    async with aiohttp.ClientSession() as session:
        for slot, right in (("1", pair.other.link_url), ("7", pair.net.context.link_url)):
            async with session.ws_connect(base + slot) as socket:
                closed = await socket.receive()
                assert (closed.data, closed.extra) == (4421, right)


async def test_the_list_names_both_processes_and_wants_no_key(pair: Pair) -> None:
    async with http() as client:
        for url in (pair.net.url, pair.url):
            listed = parse_processes((await client.get(url + "/v1/gateways")).content)
            assert listed.gateway == pair.net.context.gateway
            assert [(one.slot, one.link_url) for one in listed.data] == [
                (0, pair.net.context.link_url),
                (1, pair.other.link_url),
            ]


async def test_a_process_without_the_link_knows_that_another_lists_the_worker(pair: Pair) -> None:
    worker = pair.net.workers[0].worker.generations.current.worker
    path = f"/v1/confidential/workers/{worker}/standing?model={MODEL}"
    async with http() as client:
        told = parse_standing((await client.get(pair.url + path)).content)
    assert (told.listed, told.reason) == (True, "elsewhere")
    assert [(one.offers, bool(one.market)) for one in told.models] == [(1, True)]
