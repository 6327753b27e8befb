"""One HTTP exchange past ASGI (ADR 7): reading a body, writing an answer, hanging up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bombyx.errors import Overloaded, TooLarge
from gateway.inference.exchange import Budget, ClientGone, Exchange

BUDGET = 100


@dataclass
class Wire:
    """What uvicorn's transport and flow control would do."""

    written: bytes = b""
    closed: bool = False
    ended: int = 0
    reading: int = 0
    write_paused: bool = False
    budget: Budget = field(default_factory=lambda: Budget(BUDGET))

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def resume_reading(self) -> None:
        self.reading += 1

    def end(self) -> None:
        self.ended += 1

    def exchange(self, *, keep_alive: bool = True, expects_continue: bool = False) -> Exchange:
        return Exchange(
            "/v1/x",
            [(b"one", b"1"), (b"two", b"2")],
            transport=cast(Any, self),
            flow=self,
            expects_continue=expects_continue,
            keep_alive=keep_alive,
            on_end=self.end,
        )

    async def read(self, exchange: Exchange, *, limit: int = 50) -> bytes:
        return await exchange.read(limit=limit, budget=self.budget)


def arrive(exchange: Exchange, data: bytes, *, more: bool = False) -> None:
    """As uvicorn hands a piece over."""
    exchange.body += data
    exchange.more_body = more
    exchange.message_event.set()


def split(written: bytes) -> tuple[list[bytes], bytes]:
    head, _, rest = written.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), rest


async def test_a_body_that_is_there_is_read_at_once() -> None:
    wire = Wire()
    exchange = wire.exchange()
    arrive(exchange, b"abc")
    assert await wire.read(exchange) == b"abc"
    assert wire.budget._free == BUDGET - 3
    assert exchange.header(b"two") == b"2"
    assert exchange.header(b"three") == b""


async def test_a_body_in_pieces_is_put_together() -> None:
    wire = Wire()
    exchange = wire.exchange(expects_continue=True)
    arrive(exchange, b"a", more=True)
    reading = asyncio.create_task(wire.read(exchange))
    for piece, more in ((b"b", True), (b"", True), (b"c", False)):
        await asyncio.sleep(0)
        arrive(exchange, piece, more=more)
    assert await reading == b"abc"
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert wire.reading
    assert wire.budget._free == BUDGET - 3


@pytest.mark.parametrize("more", [False, True])
async def test_a_body_beyond_the_limit_is_refused(more: bool) -> None:
    wire = Wire()
    exchange = wire.exchange()
    arrive(exchange, b"abc", more=more)
    with pytest.raises(TooLarge):
        await wire.read(exchange, limit=2)
    assert wire.budget._free == BUDGET


@pytest.mark.parametrize("more", [False, True])
async def test_bodies_beyond_the_budget_of_all_are_refused(more: bool) -> None:
    wire = Wire(budget=Budget(2))
    exchange = wire.exchange()
    arrive(exchange, b"abc", more=more)
    with pytest.raises(Overloaded):
        await wire.read(exchange)
    assert wire.budget._free == 2


async def test_a_client_that_leaves_within_its_body_gives_all_back() -> None:
    wire = Wire()
    exchange = wire.exchange()
    arrive(exchange, b"a", more=True)
    reading = asyncio.create_task(wire.read(exchange))
    await asyncio.sleep(0)
    exchange.disconnected = True
    exchange.message_event.set()
    with pytest.raises(ClientGone):
        await reading
    assert wire.budget._free == BUDGET
    with pytest.raises(ClientGone):
        await wire.read(exchange)
    arrive(exchange, b"")
    with pytest.raises(ClientGone):
        await wire.read(exchange)


async def test_a_whole_answer_has_a_length() -> None:
    wire = Wire()
    exchange = wire.exchange()
    assert not exchange.begun
    exchange.begin(200, [(b"content-type", b"x/y")])
    assert exchange.begun
    assert wire.written == b""
    exchange.end(b"body")
    lines, rest = split(wire.written)
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {b"content-type: x/y", b"content-length: 4"} < set(lines)
    assert any(line.startswith(b"x-request-id: req_") for line in lines)
    assert rest == b"body"
    assert exchange.response_complete
    assert (wire.ended, wire.closed) == (1, False)
    exchange.end(b"again")
    assert wire.ended == 1


@pytest.mark.parametrize(("last", "chunks"), [(b"", b""), (b"c", b"1\r\nc\r\n")])
async def test_an_answer_in_pieces_is_chunked(last: bytes, chunks: bytes) -> None:
    wire = Wire()
    exchange = wire.exchange()
    exchange.begin(200, [])
    exchange.write(b"a" * 17)
    exchange.write(b"b")
    exchange.end(last)
    lines, rest = split(wire.written)
    assert b"transfer-encoding: chunked" in lines
    assert not any(line.startswith(b"content-length") for line in lines)
    assert rest == b"11\r\n" + b"a" * 17 + b"\r\n1\r\nb\r\n" + chunks + b"0\r\n\r\n"


async def test_a_connection_that_is_not_kept_is_closed_and_said_to_be() -> None:
    wire = Wire()
    exchange = wire.exchange(keep_alive=False)
    exchange.begin(429, [])
    exchange.end(b"")
    assert b"connection: close" in split(wire.written)[0]
    assert split(wire.written)[0][0] == b"HTTP/1.1 429 Too Many Requests"
    assert wire.closed


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: x", b"a\nb", b"\0", b"\x7f"])
async def test_a_header_cannot_break_the_format(value: bytes) -> None:
    wire = Wire()
    exchange = wire.exchange()
    with pytest.raises(ValueError, match="header"):
        exchange.begin(200, [(b"x", value)])
    assert not exchange.begun


async def test_nothing_is_written_to_a_client_that_is_gone() -> None:
    wire = Wire()
    exchange = wire.exchange()
    exchange.begin(200, [])
    exchange.disconnected = True
    exchange.write(b"a")
    exchange.end(b"b")
    assert (wire.written, wire.ended) == (b"", 0)


async def test_whoever_watches_is_told_once() -> None:
    told: list[int] = []
    early, late = Wire().exchange(), Wire().exchange()
    early.watch(lambda: told.append(1))
    early.message_event.set()
    assert told == []
    early.disconnected = late.disconnected = True
    early.message_event.set()
    early.message_event.set()
    late.watch(lambda: told.append(2))
    assert told == [1, 2]


def handler(work: Callable[[Exchange], None]) -> Callable[[Exchange], Any]:
    async def handle(exchange: Exchange) -> None:
        work(exchange)

    return handle


def fail(_exchange: Exchange) -> None:
    raise LookupError


def answer(exchange: Exchange) -> None:
    exchange.begin(200, [])
    exchange.end(b"")


@pytest.mark.parametrize(
    ("work", "closed"), [(fail, True), (lambda _: None, True), (answer, False)]
)
async def test_an_answer_that_breaks_off_breaks_the_connection_off(
    work: Callable[[Exchange], None], closed: bool
) -> None:
    wire = Wire()
    await wire.exchange().run_asgi(handler(work))
    assert wire.closed is closed


async def test_being_full_is_what_the_connection_says() -> None:
    wire = Wire()
    exchange = wire.exchange()
    assert not exchange.is_full
    wire.write_paused = True
    assert exchange.is_full
    exchange.on_room()
