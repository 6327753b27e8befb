"""What is no HTTP, hides a second request, or never ends is refused in our shape (SPEC 18)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from gateway import connections
from gateway.connections import MAX_HEADERS, MAX_PIPELINED, READ_BYTES
from tests.network.harness import Network, network
from tests.network.raw import connected, exchange, head, read_answer
from tests.network.requests import CHAT, body

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = json.dumps({**body("say: hello"), "stream": False}).encode()
LENGTH = f"content-length: {len(ASK)}"
CHUNKED = "transfer-encoding: chunked"
WHOLE = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ASK), ASK)
PLAIN = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
LONG = 5 * READ_BYTES
BAD = (400, "invalid_request")

Make = Callable[[Network], bytes]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    """A gateway that waits for nobody longer than a second."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("strict")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        patch.setattr(connections, "LOOK_SECONDS", 0.2)
        patience: dict[str, Any] = {"keep_alive_s": 1, "request_head_s": 1, "stalled_client_s": 1}
        async with network(folder, workers=1, max_request_mb=1, **patience) as net:
            yield net


def asked(*lines: str, content: bytes = ASK) -> Make:
    return lambda net: head(net, *lines) + content


def literal(content: bytes) -> Make:
    return lambda _net: content


HIDDEN: dict[str, Make] = {
    "two_lengths": asked(LENGTH, "content-length: 3"),
    "two_equal_lengths": asked(LENGTH, LENGTH),
    "list_of_lengths": asked(f"{LENGTH}, {len(ASK)}"),
    "negative_length": asked("content-length: -1"),
    "signed_length": asked(f"content-length: +{len(ASK)}"),
    "hexadecimal_length": asked("content-length: 0x10"),
    "length_beyond_64_bits": asked("content-length: 18446744073709551616"),
    "length_and_chunks": asked(LENGTH, CHUNKED, content=WHOLE),
    "chunks_and_length": asked(CHUNKED, LENGTH, content=WHOLE),
    "other_coding": asked("transfer-encoding: gzip"),
    "almost_chunked": asked("transfer-encoding: xchunked", content=WHOLE),
    "chunked_and_more": asked("transfer-encoding: chunked, identity", content=WHOLE),
    "chunked_twice": asked(CHUNKED, CHUNKED, content=WHOLE),
    "hidden_chunked": asked("transfer-encoding: \x0bchunked", content=WHOLE),
    "bare_line_feeds": lambda net: (head(net, LENGTH) + ASK).replace(b"\r\n", b"\n"),
    "space_before_colon": asked(f"content-length : {len(ASK)}"),
    "folded_line": asked("x-a: 1\r\n b", LENGTH),
    "zero_in_value": asked("x-a: a\0b", LENGTH),
    "zero_in_name": asked("x\0a: b", LENGTH),
    "return_in_value": asked("x-a: a\rb", LENGTH),
    "no_name": asked(": b", LENGTH),
    "no_colon": asked("abc", LENGTH),
    "chunk_size_of_letters": asked(CHUNKED, content=b"zz\r\nabc\r\n0\r\n\r\n"),
    "negative_chunk": asked(CHUNKED, content=b"-1\r\nabc\r\n0\r\n\r\n"),
    "prefixed_chunk_size": asked(CHUNKED, content=b"0x5\r\nabcde\r\n0\r\n\r\n"),
    "chunk_beyond_64_bits": asked(CHUNKED, content=b"f" * 18 + b"\r\nabc\r\n0\r\n\r\n"),
    "chunks_with_line_feeds": asked(CHUNKED, content=WHOLE.replace(b"\r\n", b"\n")),
    "chunk_longer_than_said": asked(CHUNKED, content=b"3\r\nabcd\r\n0\r\n\r\n"),
    "line_feed_in_extension": asked(CHUNKED, content=b"3;\nabc\r\n0\r\n\r\n"),
    "version_9": lambda net: head(net, LENGTH).replace(b"HTTP/1.1", b"HTTP/9.9") + ASK,
    "tls": literal(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50)),
    "http_2": literal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "lower_case": literal(b"get /healthz http/1.1\r\nhost: x\r\n\r\n"),
    "connect": literal(b"CONNECT evil:443 HTTP/1.1\r\nhost: x\r\n\r\n"),
    "path_of_bytes": literal(b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n"),
    "all_bytes": literal(bytes(range(256)) * 1000),
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_what_two_readers_might_read_differently_is_refused(
    strict: Network, name: str
) -> None:
    # Whatever follows must not pass for a request of its own.
    (answer,) = await exchange(strict, HIDDEN[name](strict) + PLAIN)
    assert (answer.status, answer.error["code"]) == BAD
    assert answer.headers["connection"] == "close"
    assert not strict.context.runs.open_runs()


FLOODS: dict[str, Make] = {
    "long_path": literal(b"GET /" + b"a" * LONG + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
    "long_header": asked("x-a: " + "b" * LONG),
    "long_name": asked("b" * LONG + ": a"),
    "one_header_too_many": asked(*(f"x-{n}: b" for n in range(MAX_HEADERS - 3)), LENGTH),
    "many_headers": asked(*(f"x-{n}: b" for n in range(100_000)), LENGTH),
    "empty_lines": literal(b"\r\n" * LONG),
    "long_chunk_extension": asked(CHUNKED, content=b"5;a=" + b"b" * LONG),
    "long_trailer": asked(CHUNKED, content=WHOLE[:-2] + b"a: " + b"b" * LONG),
    "many_trailers": asked(CHUNKED, content=WHOLE[:-2] + b"a: b\r\n" * LONG),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_before_or_after_the_body_is_431(strict: Network, name: str) -> None:
    flood = FLOODS[name](strict)
    (answer,) = await exchange(strict, *(flood[at : at + 2**20] for at in range(0, 2**23, 2**20)))
    assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


async def test_as_much_as_is_allowed_passes(strict: Network) -> None:
    lines = [f"x-{number}: b" for number in range(MAX_HEADERS - 5)]
    lines.append("x-long: " + "b" * (READ_BYTES - 8 * 2**10))
    async with connected(strict) as (reader, writer):
        writer.write(head(strict, *lines, LENGTH) + ASK)
        assert (await read_answer(reader)).status == 200


async def test_headers_after_the_body_are_none(strict: Network) -> None:
    """A proxy that filters headers does not see these."""
    trailers = b"x-bombyx-route: nonsense\r\nidempotency-key: \xff\r\ncontent-type: text/plain\r\n"
    async with connected(strict) as (reader, writer):
        writer.write(head(strict, CHUNKED) + WHOLE[:-2] + trailers + b"\r\n")
        assert (await read_answer(reader)).status == 200
        writer.write(PLAIN)
        assert (await read_answer(reader)).status == 200


# --- Bodies that are refused before they have come ---


@pytest.mark.parametrize("lines", [("content-length: 104857600",), (CHUNKED,)])
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/admin/v1/accounts"])
async def test_a_hundred_megabytes_are_413_long_before_their_end(
    strict: Network, path: str, lines: tuple[str, ...]
) -> None:
    top = head(strict, *lines, path=path)
    if path.startswith("/admin"):
        top = top.replace(strict.api_key.encode(), strict.admin_key.encode())
    piece = b"x" * 2**17
    part = piece if lines[0] != CHUNKED else b"%x\r\n%b\r\n" % (len(piece), piece)
    sent = 0
    async with connected(strict) as (reader, writer):
        writer.write(top)
        told = asyncio.create_task(read_answer(reader))
        while not told.done() and sent < 800:
            writer.write(part)
            await writer.drain()
            sent += 1
            await asyncio.sleep(0)
        answer = await told
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        # Then the line is closed, whether or not the client reads on.
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert sent < 200
    assert strict.context.budget._free == strict.context.settings.buffered_requests_mb * 2**20


@pytest.mark.parametrize("path", [CHAT, "/admin/v1/accounts"])
async def test_who_has_no_key_sends_no_body(strict: Network, path: str) -> None:
    top = head(strict, "content-length: 1000000", "expect: 100-continue", path=path)
    top = top.replace(strict.api_key.encode(), b"nobody")
    (answer,) = await exchange(strict, top)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_small_body_that_comes_late_costs_nobody_the_connection(strict: Network) -> None:
    async with connected(strict) as (reader, writer):
        for _ in range(2):
            writer.write(head(strict, "content-length: 10", method="GET", path="/healthz"))
            assert (await read_answer(reader)).status == 200
            writer.write(b"x" * 10)


# --- Requests sent ahead ---


async def test_requests_sent_ahead_are_bounded_and_refused_in_turn(strict: Network) -> None:
    answers = await exchange(strict, PLAIN * 10_000)
    assert [one.status for one in answers] == [200] * (MAX_PIPELINED + 1) + [400]
    assert answers[-1].error["code"] == "invalid_request"
    assert answers[-1].headers["connection"] == "close"


async def test_a_body_sent_ahead_too_far_goes_to_no_other_request(strict: Network) -> None:
    whole = head(strict, LENGTH) + ASK
    answers = await exchange(strict, whole * (MAX_PIPELINED + 1) + head(strict, LENGTH) + b"x" * 99)
    assert [one.status for one in answers] == [200] * (MAX_PIPELINED + 1) + [400]


async def test_nonsense_behind_a_request_ends_the_request(strict: Network) -> None:
    slow = json.dumps(body("pace: 20\ncount: 500", max_tokens=500)).encode()
    async with connected(strict) as (reader, writer):
        writer.write(head(strict, f"content-length: {len(slow)}") + slow)
        await reader.readuntil(b"data: ")
        writer.write(b"\0\0\0\r\n\r\n")
        # An error in the middle of an answer would pass for a part of it.
        rest = await asyncio.wait_for(reader.read(), 5)
    assert b"HTTP/1.1" not in rest
    assert b"[DONE]" not in rest
    await strict.settled()


async def test_a_client_that_leaves_with_two_requests_open_is_missed_by_both(
    strict: Network,
) -> None:
    slow = json.dumps(body("pace: 20\ncount: 500", max_tokens=500)).encode()
    ask = head(strict, f"content-length: {len(slow)}") + slow
    before = await strict.balance()
    async with connected(strict) as (reader, writer):
        writer.write(ask + ask)
        await reader.readuntil(b"data: ")
        writer.transport.abort()
    async with asyncio.timeout(2):
        while strict.context.runs.open_runs():
            await asyncio.sleep(0.01)
    await strict.settled()
    assert 0 < before - await strict.balance() < 500 * 60 * 2


async def test_a_slow_reader_who_sent_another_request_gets_both_answers(strict: Network) -> None:
    """Room to write is the answered request's to hear of, and not the latest one's."""
    words = 6000
    fields = {"max_tokens": words, "logprobs": True, "top_logprobs": 20}
    long = json.dumps(body(f"count: {words}", **fields)).encode()
    async with connected(strict) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(head(strict, f"content-length: {len(long)}") + long + PLAIN)
        await asyncio.sleep(0.2)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        first = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 30)
        assert b"data: [DONE]" in first
        assert (await read_answer(reader)).status == 200


# --- Paths ---


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/v1/../admin/v1/accounts",
        "/v1/models/..%2f..%2fadmin%2fv1%2faccounts",
        "/%00",
        "/%ff%fe",
        "/v1/receipts/%00%0a",
        "/v1/models/%ed%a0%80",
        "//admin/v1/accounts",
        "/admin%2fv1%2faccounts",
        "/ADMIN/v1/accounts",
        "*",
        "/v1/chat/completions%00",
    ],
)
async def test_no_spelling_of_a_path_leads_elsewhere(strict: Network, path: str) -> None:
    async with connected(strict) as (reader, writer):
        writer.write(head(strict, method="GET", path=path))
        answer = await read_answer(reader)
    # One that is decoded to a guarded path is guarded.
    assert (answer.status, answer.error["type"]) in (
        (404, "invalid_request_error"),
        (403, "permission_error"),
    )
