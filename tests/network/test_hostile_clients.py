"""Clients that dawdle, fall silent, do not listen, come in crowds or vanish (SPEC 18)."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from bombyx.link.mux import WINDOW_BYTES
from bombyx.link.open import Open
from gateway import connections
from gateway import http as gateway_http
from gateway.inference.sealed import leave
from gateway.metering.rows import Disposition
from gateway.workers.link import WorkerLink
from tests.network.harness import MODEL, Network, network
from tests.network.raw import Streams, connected, head, read_answer, watch_doors
from tests.network.requests import body, error_of, http, post
from worker.link import stream as worker_stream

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAIN = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
MOST = 40
DOORS: list[connections.Door] = []
"""Of the gateway here."""
PATIENCE: dict[str, Any] = {
    "keep_alive_s": 1,
    "request_head_s": 1,
    "stalled_client_s": 1,
    "max_connections": MOST,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """A gateway that waits for nobody longer than a second, and holds few connections."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("strict")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        patch.setattr(connections, "LOOK_SECONDS", 0.1)
        doors = watch_doors(patch)
        async with network(folder, workers=1, max_request_mb=1, **PATIENCE) as net:
            DOORS[:] = doors
            yield net


async def still_answers(net: Network) -> None:
    answer = await net.bare().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "say: still here"}]
    )
    assert answer.choices[0].message.content == "still here"


# --- Slow writers ---


@pytest.mark.parametrize(
    ("start", "drop"), [(b"GET /h", b"h"), (PLAIN[:-2] + b"x: y", b"y"), (PLAIN[:-2], b"x: y\r\n")]
)
async def test_a_head_that_comes_too_slowly_is_408_however_often_a_byte_comes(
    strict: Network, start: bytes, drop: bytes
) -> None:
    async with connected(strict) as (reader, writer):
        writer.write(start)
        told = asyncio.create_task(read_answer(reader))
        async with asyncio.timeout(4):
            while not told.done():
                writer.write(drop)
                await asyncio.sleep(0.05)
        answer = await told
        assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert await asyncio.wait_for(reader.read(), 4) == b""


@pytest.mark.parametrize("sent", [b"", b"\r\n", PLAIN, PLAIN + b"\r\n"])
async def test_a_connection_that_asks_nothing_is_closed(strict: Network, sent: bytes) -> None:
    async with connected(strict) as (reader, writer):
        writer.write(sent)
        rest = await asyncio.wait_for(reader.read(), 4)
    assert rest.count(b"HTTP/1.1 200") == sent.count(b"GET")


async def test_a_connection_that_asks_now_and_then_is_kept(strict: Network) -> None:
    async with connected(strict) as (reader, writer):
        for _ in range(8):
            writer.write(PLAIN)
            assert (await read_answer(reader)).status == 200
            await asyncio.sleep(0.18)


async def test_an_administrators_body_that_never_ends_is_408(
    strict: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_http, "BODY_TIMEOUT_SECONDS", 0.1)
    top = head(strict, "content-length: 1000", path="/admin/v1/accounts")
    async with connected(strict) as (reader, writer):
        writer.write(top.replace(strict.api_key.encode(), strict.admin_key.encode()) + b"{")
        answer = await read_answer(reader)
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")


# --- Slow readers ---


@contextlib.asynccontextmanager
async def deaf(net: Network) -> AsyncIterator[Streams]:
    """A client that reads nothing, on a socket that holds little."""
    url = httpx2.URL(net.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2**24)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    name = sock.getsockname()
    async with asyncio.timeout(5):
        while not (other := [one for one in _inside() if one.client == name]):
            await asyncio.sleep(0.001)
    held = other[0].transport.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def large(words: int) -> bytes:
    fields = {"max_tokens": words, "logprobs": True, "top_logprobs": 20}
    return json.dumps(body(f"count: {words}", **fields)).encode()


async def test_who_reads_nothing_is_given_up_and_pays_for_what_was_made(
    strict: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's rule: without credit for so long it stops, and signs what it made."""
    monkeypatch.setattr(worker_stream, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(strict.context.silence, "idle_s", 100)
    before, content = await strict.balance(), large(4000)
    async with deaf(strict) as (_, writer):
        writer.write(head(strict, f"content-length: {len(content)}") + content)
        async with asyncio.timeout(30):
            while not (runs := strict.context.runs.open_runs()) or runs[0].answer is None:
                await asyncio.sleep(0.01)
        (run,) = runs
        c = bytes.fromhex(run.claim.c)
        others = asyncio.gather(*(still_answers(strict) for _ in range(5)))
        await asyncio.wait_for(others, 20)
        async with asyncio.timeout(30):
            while strict.context.runs.open_runs():
                if run.answer is not None and run.answer.readers:
                    untaken = run.answer.chunks[run.answer.readers[0].at :]
                    assert sum(map(len, untaken)) <= WINDOW_BYTES + 2**20
                await asyncio.sleep(0.02)
        await strict.settled()
    (receipt,) = await strict.context.store.receipts_of(c)
    assert (receipt.status, receipt.disposition) == ("aborted", Disposition.BILLED)
    claim = (await strict.context.store.find_claims([c]))[c]
    assert claim.charge == receipt.charge
    others_charge = 5 * 2000
    assert (
        0 < receipt.charge <= before - await strict.balance() < receipt.charge + 100 * others_charge
    )
    assert await strict.context.store.billing_gap() == 0


async def test_an_answer_that_nobody_takes_is_dropped_with_its_connection(strict: Network) -> None:
    """It is whole, and its bytes would wait in the gateway's memory for ever."""
    await strict.settled()
    content = json.dumps(json.loads(large(500)) | {"stream": False}).encode()
    async with deaf(strict) as (_, writer):
        writer.write(head(strict, f"content-length: {len(content)}") + content)
        async with asyncio.timeout(30):
            while not any(one.transport.get_write_buffer_size() for one in _inside()):
                await asyncio.sleep(0.02)
            while any(one.transport.get_write_buffer_size() for one in _inside()):
                await asyncio.sleep(0.02)
    await strict.settled()


def _inside() -> set[connections.GuardedProtocol]:
    return set().union(*(one._inside for one in DOORS))


async def test_who_reads_slowly_but_reads_is_not_given_up(strict: Network) -> None:
    content = large(1000)
    async with deaf(strict) as (reader, writer):
        writer.write(head(strict, f"content-length: {len(content)}") + content)
        for _ in range(20):
            await asyncio.sleep(0.1)
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert b"data: [DONE]" in await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 20)


# --- Crowds ---


async def test_beyond_the_most_connections_one_is_told_to_come_back(strict: Network) -> None:
    await asyncio.sleep(0)
    async with contextlib.AsyncExitStack() as stack:
        refused = None
        for _ in range(MOST + 10):
            reader, writer = await stack.enter_async_context(connected(strict))
            writer.write(PLAIN)
            answer = await read_answer(reader)
            if answer.status != 200:
                refused = answer
                break
        assert refused is not None
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) == 1
        assert await asyncio.wait_for(reader.read(), 4) == b""
    await asyncio.sleep(0.3)
    await still_answers(strict)


# --- Connections that vanish ---


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a crash does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("at", ["silent", "head", "body", "first", "stream", "between"])
async def test_a_reset_at_any_point_leaves_nothing_behind(strict: Network, at: str) -> None:
    content = json.dumps(body("pace: 5\ncount: 200", max_tokens=200)).encode()
    whole = head(strict, f"content-length: {len(content)}") + content
    parts = {"silent": 0, "head": 40, "body": len(whole) - 10}
    for _ in range(5):
        async with connected(strict) as (reader, writer):
            writer.write(PLAIN if at == "between" else whole[: parts.get(at, len(whole))])
            await writer.drain()
            if at == "stream":
                await reader.readuntil(b"data: ")
            if at == "between":
                await read_answer(reader)
            await asyncio.sleep(0.005)
            reset(writer)
    free = strict.context.settings.buffered_requests_mb * 2**20
    async with asyncio.timeout(5):
        while strict.context.runs.open_runs() or strict.context.budget._free != free:
            await asyncio.sleep(0.01)
    await strict.settled()
    assert await strict.context.store.billing_gap() == 0


@pytest.mark.spec("6.5-a")
async def test_a_client_that_leaves_in_the_turn_that_dispatches_holds_no_reserve(
    strict: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch = WorkerLink.dispatch

    def and_leave(link: WorkerLink, request: Open, frames: bytes, **named: Any) -> None:
        dispatch(link, request, frames, **named)
        (run,) = strict.context.runs.open_runs()
        leave(run)  # before a byte of the request is on the link

    monkeypatch.setattr(WorkerLink, "dispatch", and_leave)
    content = json.dumps(body("pace: 5\ncount: 200", max_tokens=200)).encode()
    async with connected(strict) as (_, writer), asyncio.timeout(5):
        writer.write(head(strict, f"content-length: {len(content)}") + content)
        while not await strict.context.store.open_claims(0, strict.context.meter.epoch):
            await asyncio.sleep(0.001)
        await strict.settled()
    assert await strict.context.store.billing_gap() == 0


async def test_a_client_that_only_says_it_sends_no_more_has_left(strict: Network) -> None:
    """Half-open is closed: nobody can tell it from a client that is gone."""
    content = json.dumps(body("pace: 5\ncount: 200", max_tokens=200)).encode()
    async with connected(strict) as (reader, writer):
        writer.write(head(strict, f"content-length: {len(content)}") + content)
        await reader.readuntil(b"data: ")
        writer.write_eof()
        async with asyncio.timeout(5):
            while strict.context.runs.open_runs():
                await asyncio.sleep(0.01)
    await strict.settled()


async def test_after_all_of_it_the_gateway_answers(strict: Network, tmp_path: Path) -> None:
    await still_answers(strict)
    answer = await post(strict, b"[" * 100_000, media="application/json")
    assert error_of(answer) == (400, "invalid_json")
    async with http() as client:
        assert (await client.get(strict.url + "/readyz")).status_code == 200
