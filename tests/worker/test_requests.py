"""Whole requests through a worker: link, admission, engine, sealed answer, receipt."""

import asyncio
import json

import pytest

from bombyx.envelope.walker import ResponseWalker
from bombyx.errors import JournalFailed
from bombyx.link.frames import LinkType
from bombyx.link.open import encode_open
from bombyx.money.receipt import verify_receipt
from bombyx.money.statement import Status
from tests.worker.asking import WatchedEngine, ask, check_terminal
from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, PeerStream, unix, until
from tests.worker.sealing import (
    chat,
    check_own,
    make_open,
    open_answer,
    seal,
)
from worker import admission
from worker.inference import pump
from worker.link import stream as stream_module


async def test_a_stream_is_sealed_signed_and_ended(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    body = chat("say: one two three", stream_options={"include_usage": True})
    stream, opened = await ask(link, body)
    assert opened.head is not None
    assert opened.head.status == 200
    assert opened.head.headers == [("content-type", "text/event-stream")]
    assert opened.text == "one two three"
    assert opened.data.endswith(b"data: [DONE]\n\n")
    usage = opened.chunks[-1]["usage"]
    assert opened.chunks[-1]["choices"] == []
    assert usage["completion_tokens"] == opened.final.tokens.completion == 3
    assert opened.final.status is Status.FINAL
    assert all(chunk["usage"] is None for chunk in opened.chunks[:-1])
    assert opened.end is not None
    assert not stream.statements


async def test_a_whole_answer_comes_as_one_json_body(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    _, opened = await ask(link, chat("say: hello there", stream=False))
    assert opened.head is not None
    assert opened.head.headers == [("content-type", "application/json")]
    answer = json.loads(opened.data)
    assert answer["choices"][0]["message"]["content"] == "hello there"
    assert answer["usage"]["completion_tokens"] == opened.final.tokens.completion == 2
    assert opened.final.status is Status.FINAL


async def test_a_stream_without_usage_option_shows_none(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    _, opened = await ask(await gateway.link(), chat("say: hi"))
    assert all("usage" not in chunk for chunk in opened.chunks)


async def test_an_error_before_any_output_is_a_reset_so_that_another_worker_may_answer(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    stream, opened = await ask(await gateway.link(), chat("fault: error"))
    assert opened.head is None
    assert stream.reset == "engine_failed"
    assert (opened.usages, stream.statements) == ([], [])


async def test_an_error_after_output_is_an_error_frame_and_an_aborted_statement(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    _, opened = await ask(await gateway.link(), chat("say: a b c d e f\nfault: crash 2"))
    assert opened.text == "a b"
    assert opened.error is not None
    assert opened.error["code"] == "engine_failed"
    assert not opened.data.endswith(b"[DONE]\n\n")
    assert opened.final.status is Status.ABORTED
    assert opened.final.tokens.completion == 2
    assert opened.end is not None


@pytest.mark.spec("2.6-c")
async def test_an_engine_that_lies_about_tokens_is_cut_and_never_billed_beyond_the_cap(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    await start_worker(engine=engine)
    _, opened = await ask(await gateway.link(), chat("say: a b c d\nfault: lie_tokens"))
    assert opened.error is not None
    assert opened.final.tokens.completion == 0
    assert engine.live == 0


@pytest.mark.spec("2.3-b")
async def test_the_engine_gets_the_header_s_output_limit_not_its_own_default(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    await start_worker(engine=engine)
    link = await gateway.link()
    _, opened = await ask(link, chat("count: 50"), max_output_tokens=5)
    assert engine.requests[0].body["max_tokens"] == 5
    assert opened.final.tokens.completion == 5
    assert opened.chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.spec("6.5-a")
async def test_a_reset_stops_the_engine_within_a_second_and_bills_aborted(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    await start_worker(engine=engine)
    link = await gateway.link()
    sealed = seal(link.listing, chat("count: 200\npace: 20"), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: len(stream.data) > 1500)
    began = asyncio.get_running_loop().time()
    await link.reset(stream)
    await stream.over()
    assert asyncio.get_running_loop().time() - began < 1.0
    assert engine.live == 0
    (receipt,) = stream.statements
    check_own(receipt.statement, sealed, link.listing)
    check_terminal(stream, receipt, link)
    assert receipt.statement.status is Status.ABORTED
    assert 0 < receipt.statement.tokens.completion < 200


@pytest.mark.spec("3.4-a")
async def test_a_reset_before_any_output_is_signed_over_the_empty_transcript(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    await start_worker(engine=engine)
    link = await gateway.link()
    sealed = seal(link.listing, chat("fault: hang 0", stream=False), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: engine.live == 1)
    await link.reset(stream)
    await stream.over()
    (receipt,) = stream.statements
    check_terminal(stream, receipt, link)
    assert receipt.statement.resp_ct_bytes == 0
    assert engine.live == 0


@pytest.mark.spec("3.4-d", "6.4-b")
async def test_a_lost_link_stops_the_engine_and_the_journal_resends_the_aborted_statement(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    await start_worker(engine=engine)
    link = await gateway.link()
    sealed = seal(link.listing, chat("count: 200\npace: 20"), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: len(stream.data) > 1000)
    await link.kill()
    await until(lambda: engine.live == 0, 1.0)
    again = await gateway.link(1)
    await until(lambda: again.resent, 12.0)
    statement = again.resent[0].statement
    check_own(statement, sealed, link.listing)
    assert statement.status is Status.ABORTED
    verify_receipt(again.resent[0], bytes.fromhex(link.listing.keyset.receipt_key))


@pytest.mark.spec("4.5-a")
async def test_the_same_bytes_twice_run_once(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = WatchedEngine()
    await start_worker(engine=engine)
    link = await gateway.link()
    sealed = seal(link.listing, chat("say: hi"), now=unix())
    streams = [await link.ask(sealed), await link.ask(sealed)]
    for stream in streams:
        await stream.over()
    refused = [stream.refusal for stream in streams if stream.refusal is not None]
    assert [one.refusal.code for one in refused] == ["replayed"]
    assert len(engine.requests) == 1


async def test_partial_statements_come_on_the_way_and_never_take_back(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "PARTIAL_SECONDS", 0.05)
    await start_worker()
    _, opened = await ask(await gateway.link(), chat("count: 30\npace: 10"))
    statements = [receipt.statement for receipt in opened.receipts]
    assert len(statements) > 2
    assert [one.seq for one in statements] == list(range(len(statements)))
    assert all(one.status is Status.PARTIAL for one in statements[:-1])
    counts = [one.tokens.completion for one in statements]
    charges = [int(one.charge_nano) for one in statements]
    assert counts == sorted(counts)
    assert charges == sorted(charges)
    assert counts[-1] == 30


async def test_a_slow_reader_holds_only_its_own_stream(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    await start_worker()
    link = await gateway.link()
    body = chat("count: 3000")
    slow_sealed = seal(link.listing, body, now=unix(), max_output_tokens=4000)
    slow = await link.ask(slow_sealed, reads=False)
    _, opened = await ask(link, chat("say: quick"))
    assert opened.text == "quick"
    await until(lambda: len(slow.data) > 200_000)
    await asyncio.sleep(0.05)
    assert not slow.is_over
    assert len(slow.data) < 256 * 1024 + 2**20
    await link.read(slow)
    await slow.over()
    assert open_answer(slow_sealed, link.listing, bytes(slow.data)).final.tokens.completion == 3000


async def test_a_reader_that_takes_nothing_is_given_up_and_billed(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "STALL_SECONDS", 0.1)
    engine = WatchedEngine()
    await start_worker(engine=engine)
    link = await gateway.link()
    sealed = seal(link.listing, chat("count: 3000"), now=unix(), max_output_tokens=4000)
    stream = await (await link.ask(sealed, reads=False)).over()
    (receipt,) = stream.statements
    check_terminal(stream, receipt, link)
    assert receipt.statement.status is Status.ABORTED
    assert engine.live == 0


async def test_a_request_that_never_comes_whole_is_given_up(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "UPLOAD_SECONDS", 0.05)
    await start_worker()
    link = await gateway.link()
    sealed = seal(link.listing, chat("say: hi"), now=unix())
    link.mux.open(1)
    stream = link.streams[1] = PeerStream(1, ResponseWalker(sealed.header.h))
    request = make_open(sealed, now=unix())
    link.mux.send_frame(1, LinkType.OPEN, encode_open(request))
    link.mux.send(1, sealed.frames[:-1])
    await link.flush()
    await stream.over()
    assert stream.reset == "no_request"


async def test_too_large_a_request_is_refused_before_it_is_whole(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "MAX_REQUEST_BYTES", 2000)
    monkeypatch.setattr(admission, "MAX_REQUEST_BYTES", 2000)
    await start_worker()
    link = await gateway.link()
    sealed = seal(link.listing, chat("say: " + "x" * 3000), now=unix())
    stream = await (await link.ask(sealed)).over()
    assert stream.refusal is not None
    assert stream.refusal.refusal.code == "request_too_large"


@pytest.mark.spec("6.8-b")
async def test_a_journal_that_fails_keeps_the_statement_from_leaving(
    gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await start_worker()
    link = await gateway.link()

    async def keep(*_: object) -> None:
        raise JournalFailed("the disk is full")

    monkeypatch.setattr(worker._parts.journal, "keep", keep)
    sealed = seal(link.listing, chat("say: hi"), now=unix())
    stream = await (await link.ask(sealed)).over()
    assert stream.reset == "journal_failed"
    opened = open_answer(sealed, link.listing, bytes(stream.data))
    assert not opened.usages
    assert opened.end is None
