"""SPEC 10.5 at the worker: it finds all processes of a gateway, and follows who comes and goes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from aiohttp import web

from bombyx.link.documents import Goaway
from bombyx.link.processes import LiveProcess
from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, unix, until
from tests.worker.sealing import GATEWAY, chat, open_answer, seal
from worker.clock import now_ms
from worker.link import fleet
from worker.link.address import is_weaker, list_url
from worker.link.roster import Roster


class ListedGateway:
    """An origin that lists processes; each is a peer of its own."""

    def __init__(self) -> None:
        self.processes: list[tuple[GatewayPeer, int, bool]] = []
        self.answer: web.Response | None = None
        self.asked = 0
        self._peers: list[GatewayPeer] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/gateways", self._list)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        for peer in self._peers:
            await peer.stop()

    async def add(self) -> GatewayPeer:
        peer = GatewayPeer()
        await peer.start()
        self._peers.append(peer)
        self.processes.append((peer, 1, False))
        return peer

    def drain(self, peer: GatewayPeer) -> None:
        self.processes = [(p, e, d or p is peer) for p, e, d in self.processes]

    def forget(self, peer: GatewayPeer) -> None:
        self.processes = [one for one in self.processes if one[0] is not peer]

    async def _list(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.answer is not None:
            return web.Response(body=self.answer.body, status=self.answer.status)
        data = [
            {"slot": slot, "epoch": epoch, "link_url": peer.url, "draining": draining}
            for slot, (peer, epoch, draining) in enumerate(self.processes)
        ]
        return web.json_response({"object": "list", "gateway": GATEWAY.public_hex, "data": data})


@pytest.fixture
async def listed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ListedGateway]:
    monkeypatch.setattr(fleet, "STEADY_SECONDS", 0.05)
    monkeypatch.setattr(fleet, "QUICK_SECONDS", (0.02,))
    gateway = ListedGateway()
    await gateway.start()
    yield gateway
    await gateway.stop()


async def test_a_worker_links_to_every_listed_process_and_to_who_comes_later(
    listed: ListedGateway, start_worker: StartWorker
) -> None:
    first, second = await listed.add(), await listed.add()
    worker = await start_worker(gateway=(listed.url,))
    await first.link()
    await second.link()
    await until(lambda: worker.gateways == sorted([first.url, second.url]))
    third = await listed.add()
    await third.link()
    assert [len(peer.links) for peer in (first, second, third)] == [1, 1, 1]


async def test_one_of_many_takes_eight(listed: ListedGateway, start_worker: StartWorker) -> None:
    peers = [await listed.add() for _ in range(11)]
    worker = await start_worker(gateway=(listed.url,))
    await until(lambda: len(worker.gateways) == 8)
    asked = listed.asked
    await until(lambda: listed.asked > asked + 2)
    assert sum(bool(peer.links) for peer in peers) == 8


async def test_a_draining_process_is_not_dialled_and_keeps_the_link_that_it_has(
    listed: ListedGateway, start_worker: StartWorker
) -> None:
    first, second = await listed.add(), await listed.add()
    listed.drain(second)
    await start_worker(gateway=(listed.url,))
    link = await first.link()
    listed.drain(first)
    asked = listed.asked
    await until(lambda: listed.asked > asked + 2)
    assert not second.links
    assert not link.is_lost


async def test_who_is_gone_is_dialled_no_more_and_found_again(
    listed: ListedGateway, start_worker: StartWorker
) -> None:
    first, second = await listed.add(), await listed.add()
    worker = await start_worker(gateway=(listed.url,))
    await first.link()
    await second.link()
    listed.forget(second)
    await second.stop()
    await until(lambda: worker.gateways == [first.url])
    await until(lambda: len(worker._dialer.tethers) == 1)
    await second.start()
    listed.processes.append((second, 2, False))
    await second.link(1)


async def test_a_link_that_works_outlives_its_line_in_the_list(
    listed: ListedGateway, start_worker: StartWorker
) -> None:
    first = await listed.add()
    await start_worker(gateway=(listed.url,))
    link = await first.link()
    listed.forget(first)
    asked = listed.asked
    await until(lambda: listed.asked > asked + 2)
    assert not link.is_lost


async def test_one_that_is_not_chosen_any_more_is_left_when_its_requests_have_ended(
    listed: ListedGateway, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await listed.add()
    await start_worker(gateway=(listed.url,))
    link = await first.link()
    sealed = seal(link.listing, chat("count: 20\npace: 10"), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: stream.data)
    monkeypatch.setattr(fleet, "choose_processes", lambda _worker, _listed: [])
    await stream.over()
    assert open_answer(sealed, link.listing, bytes(stream.data)).end is not None
    await until(lambda: link.is_lost)


@pytest.mark.parametrize("status", [404, 500, 200])
async def test_a_gateway_without_a_readable_list_is_asked_until_it_has_one(
    listed: ListedGateway, start_worker: StartWorker, status: int
) -> None:
    listed.answer = web.Response(body=b"{}", status=status)
    await start_worker(gateway=(listed.url,))
    await until(lambda: listed.asked >= 2)
    listed.answer = None
    peer = await listed.add()
    await peer.link()


async def test_an_endless_list_is_not_read(
    listed: ListedGateway, start_worker: StartWorker
) -> None:
    listed.answer = web.Response(body=b" " * (2**20 + 1))
    worker = await start_worker(gateway=(listed.url,))
    await until(lambda: listed.asked >= 2)
    assert not worker._dialer.tethers


async def test_sent_away_by_all_for_good_it_gives_up(
    listed: ListedGateway, start_worker: StartWorker
) -> None:
    for _ in range(2):
        peer = await listed.add()
        peer.refuse_with = Goaway(code="policy", message="not listed", retry=False)
    worker = await start_worker(gateway=(listed.url,))
    await asyncio.wait_for(worker.given_up(), 5)
    assert [peer.hellos for peer, _, _ in listed.processes] == [1, 1]


@pytest.mark.spec("10.5-c")
async def test_a_link_that_came_to_another_process_dials_the_url_that_it_is_told(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    right = GatewayPeer()
    await right.start()
    gateway.sends_to = right.url
    worker = await start_worker()
    await right.link()
    await until(lambda: worker.gateways == [right.url])
    await start_worker.stop(worker)
    await right.stop()


async def test_nonsense_in_place_of_a_url_is_not_dialled(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    gateway.sends_to = "http://elsewhere"
    worker = await start_worker()
    await until(lambda: gateway.hellos >= 2)
    assert [one.url for one in worker._dialer.tethers] == [gateway.url]


@pytest.mark.spec("10.5-b")
def test_nobody_is_led_to_a_url_without_tls() -> None:
    assert is_weaker("ws://x", "wss://x")
    assert is_weaker("ws://x", "https://x")
    assert not is_weaker("wss://y", "wss://x")
    assert not is_weaker("ws://y", "http://x")


@pytest.mark.spec("10.5-b")
async def test_listed_urls_without_tls_are_left_out_for_who_asked_with_it() -> None:
    with structlog.testing.capture_logs() as logs:
        roster = Roster("https://gateway.example", now_ms)
        assert not roster._is_safe(LiveProcess(0, 1, "ws://gateway.example/x"))
        assert roster._is_safe(LiveProcess(0, 1, "wss://gateway.example/x"))
    assert [one["event"] for one in logs] == ["list_refused"]


def test_the_list_of_a_link_s_own_url_is_not_asked_for() -> None:
    assert list_url("wss://gateway.example/v1/workers/link/3") is None
    assert list_url("https://gateway.example/") == "https://gateway.example/v1/gateways"
