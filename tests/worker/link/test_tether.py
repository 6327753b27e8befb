"""SPEC 10 at the worker: whom it believes, when it comes again, when it does not."""

import asyncio

import pytest

from bombyx import canonical
from bombyx.link.documents import Goaway
from bombyx.link.frames import LinkType
from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, unix, until
from tests.worker.sealing import chat, open_answer, seal
from worker.link import connection


@pytest.mark.spec("10.3-b")
async def test_a_gateway_that_signs_another_url_is_never_told_who_we_are(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    gateway.calls_itself = "wss://other.example/v1/workers/link/0"
    worker = await start_worker()
    await until(lambda: gateway.hellos >= 2)
    assert not gateway.links
    assert not worker.linked.is_set()


async def test_a_gateway_that_is_down_is_dialled_until_it_is_up(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await gateway.stop()
    worker = await start_worker()
    await asyncio.sleep(0.1)
    assert not worker.linked.is_set()
    await gateway.start()
    await asyncio.wait_for(worker.linked.wait(), 5)


async def test_sent_away_without_retry_is_final(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    gateway.refuse_with = Goaway(code="policy", message="not listed", retry=False)
    worker = await start_worker()
    await asyncio.wait_for(worker.given_up(), 5)
    assert gateway.hellos == 1


async def test_sent_away_with_retry_comes_again(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    gateway.refuse_with = Goaway(code="busy", message="later", retry=True)
    worker = await start_worker()
    await until(lambda: gateway.hellos >= 2)
    gateway.refuse_with = None
    await asyncio.wait_for(worker.linked.wait(), 5)


@pytest.mark.spec("10.5-d")
async def test_after_a_goaway_the_new_link_stands_before_the_old_one_ends(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    old = await gateway.link()
    sealed = seal(old.listing, chat("count: 20\npace: 20"), now=unix())
    stream = await old.ask(sealed)
    await until(lambda: stream.data)
    away = Goaway(code="draining", message="restarting", retry=True)
    await old.say(LinkType.GOAWAY, canonical.encode(away))
    new = await gateway.link(1)
    assert not old.is_lost
    await stream.over()
    assert open_answer(sealed, old.listing, bytes(stream.data)).end is not None
    await until(lambda: old.is_lost)
    assert not new.is_lost


@pytest.mark.spec("10.1-b")
async def test_a_protocol_error_is_named_and_ends_the_link(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    await link.say(LinkType.STATUS, b"{}")
    await until(lambda: link.is_lost)
    assert link.goaways[0].code == "link_protocol"
    await gateway.link(1)


async def test_a_torn_document_ends_the_link(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    await link.say(LinkType.ACK, b"{nonsense")
    await until(lambda: link.is_lost)
    assert link.goaways


async def test_a_ping_is_answered_with_its_bytes(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    await link.say(LinkType.PING, b"\x00" * 8)
    await until(lambda: link.pongs == [b"\x00" * 8])


async def test_a_gateway_that_answers_no_ping_is_left(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PING_SECONDS", 0.05)
    monkeypatch.setattr(connection, "PONG_SECONDS", 0.05)
    await start_worker()
    link = await gateway.link()
    await asyncio.sleep(0.2)
    assert not link.is_lost
    monkeypatch.setattr(type(link), "_take", lambda *_: None)
    await until(lambda: link.is_lost)
