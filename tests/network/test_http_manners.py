"""HTTP/1.1 on the hot paths by hand: what no SDK sends, and what a proxy may (ADR 7)."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from gateway.inference.run import Run
from tests.network.harness import Network
from tests.network.requests import CHAT, body

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = json.dumps({**body("say: hello"), "stream": False}).encode()


def request(net: Network, *, version: str = "1.1", path: str = CHAT, extra: str = "") -> bytes:
    head = (
        f"POST {path} HTTP/{version}\r\nhost: x\r\ncontent-length: {len(ASK)}\r\n{extra}"
        f"content-type: application/json\r\nauthorization: Bearer {net.api_key}\r\n\r\n"
    )
    return head.encode() + ASK


@contextlib.asynccontextmanager
async def connect(
    net: Network,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = httpx2.URL(net.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def test_pipelined_requests_are_answered_in_order(shared: Network) -> None:
    async with connect(shared) as (reader, writer):
        model = (
            f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {shared.api_key}\r\n\r\n"
        )
        writer.write(request(shared) + model.encode() + request(shared, path=CHAT + "?a=b"))
        answers = [await read_answer(reader) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 200]
        assert [json.loads(text)["object"] for *_, text in answers] == [
            "chat.completion",
            "list",
            "chat.completion",
        ]
        ids = {headers["x-request-id"] for _, headers, _ in answers}
        assert len(ids) == 3


async def test_a_client_that_waits_for_continue_is_told(shared: Network) -> None:
    async with connect(shared) as (reader, writer):
        whole = request(shared, extra="expect: 100-continue\r\n")
        writer.write(whole[: -len(ASK)])
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert told.startswith(b"HTTP/1.1 100")
        writer.write(ASK)
        assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize(("version", "extra"), [("1.0", ""), ("1.1", "connection: close\r\n")])
async def test_a_connection_is_closed_where_it_is_not_kept(
    shared: Network, version: str, extra: str
) -> None:
    async with connect(shared) as (reader, writer):
        writer.write(request(shared, version=version, extra=extra))
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""


async def test_an_attempt_to_upgrade_is_refused_in_our_shape(shared: Network) -> None:
    async with connect(shared) as (reader, writer):
        writer.write(request(shared, extra="connection: upgrade\r\nupgrade: h2c\r\n"))
        status, _, text = await read_answer(reader)
        assert status == 400
        assert "Upgrade" in json.loads(text)["error"]["message"]


async def test_a_slow_reader_gets_every_byte_and_holds_no_memory(shared: Network) -> None:
    """The answer is far larger than the buffers between: the gateway has to wait and go on."""
    words = 6_000
    fields = {"max_tokens": words, "logprobs": True, "top_logprobs": 20}
    asked = json.dumps(body(f"count: {words}", **fields)).encode()
    head = request(shared).split(b"\r\n\r\n")[0].replace(b"%d" % len(ASK), b"%d" % len(asked))
    url = httpx2.URL(shared.url)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((url.host, url.port))
        reader, writer = await asyncio.open_connection(sock=slow, limit=2**24)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(head + b"\r\n\r\n" + asked)
        run = await _waits(shared)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        received = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 60)
        assert f'" {words}"'.encode() in received
        assert b"data: [DONE]" in received
        assert run.answer is not None
        assert not run.answer.readers
        writer.close()


async def _waits(net: Network) -> Run:
    """The one run, once its answer has stopped to flow: credit is spent and the socket full."""
    before = -1
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(0.2)
            (run,) = net.context.runs.open_runs() or (None,)
            received = run.answer.received if run is not None and run.answer is not None else 0
            if run is not None and received == before > 0:
                return run
            before = received


async def test_every_answer_says_when_it_was_made(shared: Network) -> None:
    """RFC 9110, 6.6.1; also how a worker finds that its clock is wrong."""
    headers = {"authorization": f"Bearer {shared.api_key}", "content-type": "application/json"}
    async with httpx2.AsyncClient(trust_env=False) as client:
        answers = [
            await client.post(shared.url + CHAT, content=ASK, headers=headers),
            await client.post(shared.url + CHAT, content=b"{", headers=headers),
            await client.get(shared.url + "/readyz"),
        ]
    for answer in answers:
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
        assert abs(told - time.time()) < 60  # noqa: TID251 - the wall clock is the point
        assert len(answer.headers.get_list("date")) == 1
