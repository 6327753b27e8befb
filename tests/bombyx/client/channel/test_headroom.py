"""What never reached its gateway, or was turned away by it, holds no headroom (SPEC 7.9).

What may have arrived holds it until a receipt or the deadline, whatever the connection did.
"""

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import msgspec
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from bombyx.client import transport_httpx
from bombyx.client.channel import paying
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.wallet import Wallet
from bombyx.client.effects import ClearRequest, Effect, NeverSent, Reply, Send, Steps, Wait
from bombyx.client.session import Session
from bombyx.client.shells import AsyncUpstream
from bombyx.client.sidecar import Place, Sidecar
from bombyx.client.sidecar_guard import Keys
from bombyx.client.sidecar_server import loopback_sockets
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client, sealed_client
from bombyx.client.upstream_aiohttp import open_pool
from bombyx.money.channel.spending import Caps, Purse
from tests.bombyx.client.channel.conftest import CAPS, paying_session
from tests.bombyx.client.channel.test_paying import SHORT, cost_of
from tests.bombyx.client.channel.till import Till
from tests.bombyx.client.conftest import Clock, Heard
from tests.bombyx.client.peer import Peer, Received, plain_error, serve
from tests.bombyx.client.peer import Reply as Told
from tests.factories import MODEL

CHAT = "/v1/chat/completions"
AGAIN: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "one"}}


def spotless(purse: Purse) -> bool:
    """Nothing is awaited, and nothing counts for today."""
    return (purse.inflight, purse.lapsed, purse.spent_today) == ({}, {}, purse.proven)


class Wire(httpx2.AsyncHTTPTransport):
    """The network, until `fails` says what becomes of the next questions."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: list[Exception | None] = []
        self.arrives = True
        """Whether the gateway gets a question whose connection then fails."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        error = self.fails.pop(0) if self.fails and request.url.path == CHAT else None
        if error is None:
            return await super().handle_async_request(request)
        if self.arrives and not isinstance(error, httpx2.ConnectError):
            response = await super().handle_async_request(request)
            await response.aclose()
        raise error


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def sdk(session: Session, origin: str, wire: Wire) -> AsyncIterator[AsyncOpenAI]:
    http = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=wire)
    async with AsyncOpenAI(
        base_url=f"{origin}/v1", api_key="sk-test", http_client=http, max_retries=0
    ) as client:
        yield client


async def lost(sdk: AsyncOpenAI, **options: Any) -> None:
    with pytest.raises(openai.APIConnectionError):
        await sdk.chat.completions.create(**SHORT, **options)


# --- Every way to a gateway, on real sockets ---

Ask = Callable[[], Awaitable[Any]]
Way = Callable[[Session, str], contextlib.AbstractAsyncContextManager[Ask]]


@contextlib.asynccontextmanager
async def by_httpx2(session: Session, origin: str) -> AsyncIterator[Ask]:
    http = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    async with AsyncOpenAI(
        base_url=f"{origin}/v1", api_key="sk-test", http_client=http, max_retries=0
    ) as sdk:
        yield lambda: sdk.chat.completions.create(**SHORT)


@contextlib.asynccontextmanager
async def by_blocking_httpx2(session: Session, origin: str) -> AsyncIterator[Ask]:
    http = sealed_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    with OpenAI(base_url=f"{origin}/v1", api_key="sk-test", http_client=http, max_retries=0) as sdk:
        yield lambda: asyncio.to_thread(lambda: sdk.chat.completions.create(**SHORT))


BODY = {"model": MODEL, "messages": [{"role": "user", "content": "canary"}], "max_tokens": 64}
BEARER = {"authorization": "Bearer sk-test"}


def whole(answer: Any) -> None:
    assert answer.status_code == 200, answer.text


@contextlib.asynccontextmanager
async def by_httpx(session: Session, origin: str) -> AsyncIterator[Ask]:
    async with transport_httpx.sealed_async_client(
        session, timeout=transport_httpx.DEFAULT_TIMEOUT, transport=None
    ) as http:

        async def ask() -> None:
            whole(await http.post(origin + CHAT, json=BODY, headers=BEARER))

        yield ask


@contextlib.asynccontextmanager
async def by_blocking_httpx(session: Session, origin: str) -> AsyncIterator[Ask]:
    with transport_httpx.sealed_client(
        session, timeout=transport_httpx.DEFAULT_TIMEOUT, transport=None
    ) as http:

        def ask() -> None:
            whole(http.post(origin + CHAT, json=BODY, headers=BEARER))

        yield lambda: asyncio.to_thread(ask)


@contextlib.asynccontextmanager
async def by_sidecar(session: Session, origin: str) -> AsyncIterator[Ask]:
    with loopback_sockets(0) as sockets:
        port = sockets[0].getsockname()[1]
        async with open_pool(origin) as pool:
            app = Sidecar(session, Place(port, Keys("side-token", "sk-test"), origin), pool)
            async with (
                serve(app, sockets) as url,
                AsyncOpenAI(base_url=f"{url}/v1", api_key="side-token", max_retries=0) as sdk,
            ):
                yield lambda: sdk.chat.completions.create(**SHORT)


DOWN = (openai.APIConnectionError, httpx.ConnectError, openai.APIStatusError)


def listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=64)


@pytest.mark.spec("7.9-h")
@pytest.mark.parametrize(
    "way", [by_httpx2, by_blocking_httpx2, by_httpx, by_blocking_httpx, by_sidecar]
)
async def test_a_gateway_that_is_down_for_a_moment_blocks_nobody(
    way: Way, peer: Peer, till: Till, session: Session, payer: Payer
) -> None:
    ours = listening(0)
    port = ours.getsockname()[1]
    async with way(session, f"http://127.0.0.1:{port}") as ask:
        async with serve(peer, [ours]):
            await ask()
        cost = cost_of(peer.posts[0])
        payer.caps = Caps(max_inflight=2 * cost, max_daily=10**9, max_deposit=10**9)
        charged = payer.purse.proven
        for _ in range(10):
            with pytest.raises(DOWN) as caught:
                await ask()
            if isinstance(caught.value, openai.APIStatusError):
                assert caught.value.code == "gateway_unreachable"
        assert spotless(payer.purse)
        async with serve(peer, [listening(port)]):
            await asyncio.gather(ask(), ask())
    assert payer.purse.proven == 3 * charged
    assert spotless(payer.purse)
    assert till.highest <= payer.purse.proven + CAPS.max_inflight


# --- What is certain, and what is not ---

UNSENT = [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("late"), httpx2.PoolTimeout("full")]
MAYBE = [
    httpx2.ReadTimeout("late"),
    httpx2.ReadError("reset"),
    httpx2.WriteError("reset"),
    httpx2.WriteTimeout("late"),
    httpx2.RemoteProtocolError("gone"),
]


@pytest.mark.spec("7.9-h")
@pytest.mark.parametrize("error", UNSENT, ids=lambda error: type(error).__name__)
async def test_what_never_left_is_dropped(
    sdk: AsyncOpenAI, till: Till, payer: Payer, wire: Wire, error: Exception
) -> None:
    wire.fails, wire.arrives = [error], False
    await lost(sdk)
    assert spotless(payer.purse)
    payer.store.close()
    assert not list((payer.store.folder / "asked").iterdir())


@pytest.mark.spec("7.9-d")
@pytest.mark.parametrize("error", MAYBE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("arrives", [True, False])
async def test_what_may_have_arrived_stays_in_flight(
    sdk: AsyncOpenAI, till: Till, payer: Payer, wire: Wire, error: Exception, *, arrives: bool
) -> None:
    wire.fails, wire.arrives = [error], arrives
    await lost(sdk)
    assert len(payer.purse.inflight) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 503])
async def test_a_refusal_of_before_the_claim_frees_headroom_and_its_receipt_still_counts(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, heard: Heard, status: int
) -> None:
    def refuse(_: Peer, one: Received) -> Told | None:
        return plain_error(status, "refused") if one.method == "POST" else None

    peer.instead = refuse
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT, **AGAIN)
    assert payer.purse.inflight == {}
    (c,) = payer.purse.lapsed
    assert payer.purse.spent_today == cost_of(peer.posts[0])
    peer.instead = till
    await sdk.chat.completions.create(**SHORT, **AGAIN)
    assert peer.posts[0].body == peer.posts[1].body
    assert heard.receipts[0].receipt.statement.c == c.hex()
    assert spotless(payer.purse)


@pytest.mark.parametrize("status", [408, 409, 422, 499, 500, 502, 504])
async def test_other_errors_leave_it_in_flight(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, status: int
) -> None:
    peer.instead = lambda _, one: plain_error(status, "x") if one.method == "POST" else None
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT)
    assert len(payer.purse.inflight) == 1


async def test_a_gateway_that_runs_what_it_says_it_refused_gets_no_higher_voucher(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paying, "PAUSES_S", (0.0, 0.0))
    await sdk.chat.completions.create(**SHORT)
    most = 6 * cost_of(peer.posts[0])
    payer.caps = Caps(max_inflight=most, max_daily=10**9, max_deposit=10**9)

    def lie(peer: Peer, received: Received) -> Told | None:
        reply = till(peer, received)
        return reply or (plain_error(503, "busy") if received.method == "POST" else None)

    peer.instead = lie
    for _ in range(20):
        with pytest.raises(openai.APIStatusError):
            await sdk.chat.completions.create(**SHORT)
    assert till.row.reserved > till.highest - payer.purse.proven
    assert till.highest <= payer.purse.signed_max <= payer.purse.proven + most


# --- The same bytes again ---


@pytest.mark.spec("7.9-h")
async def test_a_retry_after_a_refused_connection_sends_the_same_bytes_and_counts_once(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, wire: Wire, heard: Heard
) -> None:
    wire.fails = [httpx2.ConnectError("refused"), httpx2.ConnectError("refused")]
    patient = sdk.with_options(max_retries=2)
    await patient.chat.completions.create(**SHORT)
    assert len(peer.posts) == len(heard.receipts) == 1
    assert spotless(payer.purse)


async def test_a_retry_that_is_refused_proves_nothing_of_what_was_sent_before(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, wire: Wire
) -> None:
    wire.fails = [httpx2.ReadTimeout("late"), httpx2.ConnectError("refused")]
    await lost(sdk, **AGAIN)
    await lost(sdk, **AGAIN)
    (c,) = payer.purse.inflight
    peer.instead = lambda _, one: plain_error(503, "busy") if one.method == "POST" else None
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT, **AGAIN)
    assert list(payer.purse.inflight) == [c]


async def test_a_second_process_of_a_gateway_takes_what_the_first_never_got(
    till: Till, peer: Peer, payer: Payer, session: Session, wire: Wire, origin: str
) -> None:
    first, second = f"http://localhost:{origin.rpartition(':')[2]}", origin

    def client(base: str) -> AsyncOpenAI:
        http = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=wire)
        return AsyncOpenAI(base_url=f"{base}/v1", api_key="sk-test", http_client=http)

    one, other = client(first), client(second)
    wire.fails = [httpx2.ConnectError("refused")]
    await lost(one.with_options(max_retries=0))
    await other.chat.completions.create(**SHORT)
    assert len(peer.posts) == 1
    assert spotless(payer.purse)
    await one.close()
    await other.close()


async def test_a_connection_refused_after_a_402_leaves_the_gateways_word_alone(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, wire: Wire
) -> None:
    till.refuse = ["voucher_required"]
    wire.fails = [None, httpx2.ConnectError("refused")]
    await lost(sdk, **AGAIN)
    assert payer.purse.inflight == {}
    assert len(payer.purse.lapsed) == 1
    await sdk.chat.completions.create(**SHORT, **AGAIN)
    assert peer.posts[0].body == peer.posts[1].body
    assert spotless(payer.purse)


async def test_one_key_at_once_is_freed_only_by_the_last_of_them(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer, wire: Wire
) -> None:
    peer.pause = 0.02
    first = asyncio.create_task(sdk.chat.completions.create(**SHORT, **AGAIN))
    while not peer.posts:
        await asyncio.sleep(0.001)
    wire.fails = [httpx2.ConnectError("refused")]
    await lost(sdk, **AGAIN)
    assert len(payer.purse.inflight) == 1
    peer.instead = lambda _, one: plain_error(429, "slow down") if one.method == "POST" else None
    with pytest.raises(openai.APIStatusError):
        await sdk.chat.completions.create(**SHORT, **AGAIN)
    assert len(payer.purse.inflight) == 1
    await first
    assert spotless(payer.purse)
    assert (payer._running, payer._doubts, payer._refused) == ({}, {}, set())


async def test_what_another_exchange_is_about_to_send_stays_in_flight(
    session: Session, till: Till, payer: Payer, origin: str
) -> None:
    asked = dataclasses.replace(
        question(origin), headers=(*question(origin).headers, ("idempotency-key", "one"))
    )
    async with httpx2.AsyncClient() as client:
        upstream = AsyncUpstream(httpx2, client, {})
        first, second = session.exchange(asked), session.exchange(asked)
        await until(first, upstream, is_wait)
        await until(second, upstream, is_post)
        with pytest.raises(NeverSent):
            second.throw(NeverSent(OSError("refused")))
        assert len(payer.purse.inflight) == 1
        first.close()
        await upstream.close()
    assert spotless(payer.purse)


async def test_another_life_of_the_books_does_not_know_what_was_sent(
    session: Session, sdk: AsyncOpenAI, till: Till, wallet: Wallet, wire: Wire
) -> None:
    wire.fails = [httpx2.ReadTimeout("late"), httpx2.ConnectError("refused")]
    await lost(sdk, **AGAIN)
    wallet.close()
    (again,) = wallet.open_for("http://gateway")
    (c,) = again.purse.inflight
    await lost(sdk, **AGAIN)
    assert list(again.purse.inflight) == [c]


# --- Given up by the caller ---


def question(origin: str) -> ClearRequest:
    body = b'{"model":"%b","messages":[{"role":"user","content":"x"}],"max_tokens":64}'
    headers = (("authorization", "Bearer sk-test"), ("content-type", "application/json"))
    return ClearRequest("POST", origin, CHAT, "", headers, body % MODEL.encode())


async def until(steps: Steps, upstream: AsyncUpstream, stop: Callable[[Effect], bool]) -> None:
    """Drive an exchange up to an effect, and leave it there."""
    reply: Reply = None
    while not stop(effect := steps.send(reply)):
        match effect:
            case Send():
                reply = await upstream.send(effect)
            case Wait(event):
                await asyncio.wrap_future(event)
                reply = None
            case _:
                reply = await upstream.read()


def is_post(effect: Effect) -> bool:
    return isinstance(effect, Send) and effect.method == "POST"


def is_wait(effect: Effect) -> bool:
    return isinstance(effect, Wait)


@pytest.mark.spec("7.9-h")
@pytest.mark.parametrize(("stop", "is_free"), [(is_wait, True), (is_post, False)])
async def test_a_request_given_up_is_dropped_only_before_it_was_sent(
    session: Session,
    origin: str,
    till: Till,
    payer: Payer,
    stop: Callable[[Effect], bool],
    *,
    is_free: bool,
) -> None:
    async with httpx2.AsyncClient() as client:
        upstream = AsyncUpstream(httpx2, client, {})
        steps = session.exchange(question(origin))
        await until(steps, upstream, stop)
        assert len(payer.purse.inflight) == 1
        steps.close()
        await upstream.close()
    assert spotless(payer.purse) is is_free


async def test_an_aborted_answer_stays_in_flight(
    sdk: AsyncOpenAI, till: Till, payer: Payer, peer: Peer
) -> None:
    peer.pause = 0.1
    asking = asyncio.create_task(sdk.chat.completions.create(**SHORT))
    while not peer.posts:
        await asyncio.sleep(0.001)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(payer.purse.inflight) == 1


async def test_what_never_left_is_raised_on(session: Session, origin: str, till: Till) -> None:
    steps = session.exchange(question(origin))
    assert isinstance(steps.send(None), Send)
    with pytest.raises(NeverSent):
        steps.throw(NeverSent(OSError("down")))


# --- Threads ---


def test_many_threads_on_a_gateway_that_is_down_leave_nothing_in_flight(
    root: Path, funded: Path, clock: Clock, heard: Heard
) -> None:
    wallet = Wallet(root, CAPS, clock=clock)
    session = paying_session(clock, heard, wallet)
    peer = Peer()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            raise httpx2.ConnectError("refused")
        return httpx2.Response(200, content=msgspec.json.encode(peer.directory()))

    http = sealed_client(session, timeout=DEFAULT_TIMEOUT, transport=httpx2.MockTransport(answer))

    def ask() -> None:
        with contextlib.suppress(httpx2.ConnectError):
            http.post("http://gateway" + CHAT, json=BODY, headers=BEARER)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (payer,) = wallet.open_for("http://gateway")
    assert spotless(payer.purse)
    wallet.close()
