"""The sidecar seals for any SDK, and for nobody who should not ask (SPEC 11)."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from bombyx.client.session import Session
from bombyx.client.sidecar import Place, Sidecar
from bombyx.client.sidecar_guard import Keys, admit
from bombyx.client.sidecar_server import loopback_sockets
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.client.upstream_aiohttp import open_pool
from bombyx.errors import BombyxError, SetupError
from tests.bombyx.client.conftest import Heard
from tests.bombyx.client.peer import ANSWER, Peer, plain_error, serve
from tests.factories import MODEL

TOKEN, API_KEY = "side-token", "sk-configured"
PROMPT = "canary-prompt: tell me of the silkworm"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}


@pytest.fixture
async def sidecar(session: Session, origin: str) -> AsyncIterator[str]:
    with loopback_sockets(0) as sockets:
        port = sockets[0].getsockname()[1]
        async with open_pool(origin) as pool:
            app = Sidecar(session, Place(port, Keys(TOKEN, API_KEY), origin), pool)
            async with serve(app, sockets) as url:
                yield url


@pytest.fixture
async def sdk(sidecar: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{sidecar}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


async def test_an_sdk_that_knows_nothing_gets_sealed_answers(
    sdk: AsyncOpenAI, peer: Peer, heard: Heard
) -> None:
    answer = await sdk.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage is not None
    assert answer.usage.bombyx["verified"] is True
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words).strip() == ANSWER
    assert len(heard.receipts) == 2
    assert not peer.saw("canary")


async def test_the_blocking_sdk_works_too(sidecar: str) -> None:
    def ask() -> str | None:
        with OpenAI(base_url=f"{sidecar}/v1", api_key=TOKEN, max_retries=0) as client:
            answer: ChatCompletion = client.chat.completions.create(**ASK)
            return answer.choices[0].message.content

    assert await asyncio.to_thread(ask) == ANSWER


class Moth(BaseModel):
    legs: int


async def test_parse_and_raw_responses_work(sdk: AsyncOpenAI, peer: Peer) -> None:
    raw = await sdk.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["x-bombyx-tier"] == "sealed"
    peer.script.text = '{"legs": 6}'
    parsed = await sdk.chat.completions.parse(**ASK, response_format=Moth)
    assert parsed.choices[0].message.parsed == Moth(legs=6)


async def test_models_are_listed(sdk: AsyncOpenAI) -> None:
    assert [model.id async for model in await sdk.models.list()] == [MODEL]


async def test_tokens_pass_while_the_worker_still_writes(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.pause = 0.05
    loop = asyncio.get_running_loop()
    begun = loop.time()
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    times = [loop.time() - begun async for _ in stream]
    assert times[0] < times[-1] - 0.25


async def test_leaving_closes_the_request_at_the_gateway_at_once(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    peer.pause = 0.1
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await asyncio.wait_for(peer.left.wait(), 0.5)


async def test_errors_and_broken_streams_look_like_openais(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.relay = lambda frames: frames[:-1]
    with pytest.raises(openai.APIStatusError) as refused:
        await sdk.chat.completions.create(**ASK)
    assert (refused.value.status_code, refused.value.code) == (502, "truncated")
    with pytest.raises(openai.APIError) as broken:
        await drain(sdk)
    assert broken.value.code == "truncated"


async def drain(sdk: AsyncOpenAI) -> None:
    async for _ in await sdk.chat.completions.create(**ASK, stream=True):
        pass


async def test_a_connection_cut_in_the_midst_is_an_error_event(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    honest = peer.reply

    def cut(received: Any) -> Any:
        reply = honest(received)
        reply.breaks = received.method == "POST"
        reply.pieces = reply.pieces[:3] if reply.breaks else reply.pieces
        return reply

    peer.reply = cut  # type: ignore[method-assign]
    with pytest.raises(openai.APIError) as broken:
        await drain(sdk)
    assert broken.value.code == "truncated"


async def test_a_gateway_that_is_down_is_a_named_error(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        origin = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with loopback_sockets(0) as sockets:
        place = Place(sockets[0].getsockname()[1], Keys(TOKEN, API_KEY), origin)
        async with (
            open_pool(origin) as pool,
            serve(Sidecar(session, place, pool), sockets) as url,
            httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as client,
        ):
            answer = await client.post(f"{url}/v1/chat/completions", json=ASK)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "gateway_unreachable"


@pytest.mark.spec("11-c")
async def test_the_token_spends_the_configured_key_and_another_key_is_forwarded(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    await sdk.chat.completions.create(**ASK)
    assert {one.headers["authorization"] for one in peer.received} == {f"Bearer {API_KEY}"}
    peer.received.clear()
    await sdk.with_options(api_key="sk-mine").chat.completions.create(**ASK)
    assert peer.posts[0].headers["authorization"] == "Bearer sk-mine"
    assert not peer.saw(TOKEN)


async def test_the_gateways_refusal_of_a_key_is_shown(sdk: AsyncOpenAI, peer: Peer) -> None:
    peer.instead = lambda _peer, _got: plain_error(401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        await sdk.chat.completions.create(**ASK)


@pytest.mark.spec("11-e")
async def test_other_paths_are_not_served(sidecar: str, peer: Peer) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(headers=headers) as client:
        outside = await client.get(f"{sidecar}/metrics")
        unsealed = await client.post(f"{sidecar}/v1/moderations", json={"input": "canary"})
        upload = await client.post(f"{sidecar}/v1/files", files={"file": b"canary"})
    assert outside.status_code == 404
    assert {one.json()["error"]["code"] for one in (unsealed, upload)} == {"not_sealable"}
    assert peer.received == []


@pytest.mark.spec("11-c")
async def test_anthropics_header_carries_the_token_and_goes_no_further(
    sidecar: str, peer: Peer
) -> None:
    async with httpx2.AsyncClient() as client:
        url = f"{sidecar}/v1/chat/completions"
        answer = await client.post(url, json=ASK, headers={"x-api-key": TOKEN})
        listed = await client.get(f"{sidecar}/v1/models", headers={"x-api-key": TOKEN})
    assert answer.status_code == 200
    assert peer.received
    del listed
    for got in peer.received:
        assert got.headers["authorization"] == f"Bearer {API_KEY}"
        assert "x-api-key" not in got.headers


async def test_a_caller_that_leaves_before_its_body_costs_nothing(
    session: Session, peer: Peer, origin: str
) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    headers = [(k.encode(), v.encode()) for k, v in JSON.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": headers,
    }
    async with open_pool(origin) as pool:
        sidecar = Sidecar(session, Place(8787, Keys(TOKEN, API_KEY), origin), pool)
        await sidecar(scope, gone, send)
        await sidecar({"type": "websocket"}, gone, send)
        await sidecar(scope, endless(), send)
    assert [message.get("status") for message in sent] == [413, None]
    assert peer.received == []


def endless() -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": bytes(2**24), "more_body": True}

    return receive


GOOD = {"host": "127.0.0.1:8787", "authorization": f"Bearer {TOKEN}"}
JSON = {**GOOD, "content-type": "application/json"}


@pytest.mark.spec("11-a", "11-b", "11-c", "11-d")
@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {**GOOD, "host": "evil.example:8787"}, 421),
        ("GET", {**GOOD, "host": "127.0.0.1"}, 421),
        ("GET", {**GOOD, "host": "127.0.0.1:8788"}, 421),
        ("GET", {"authorization": f"Bearer {TOKEN}"}, 421),
        ("GET", {**GOOD, "origin": "https://evil.example"}, 403),
        ("GET", {**GOOD, "origin": "null"}, 403),
        ("GET", {**GOOD, "sec-fetch-site": "cross-site"}, 403),
        ("GET", {"host": "127.0.0.1:8787"}, 401),
        ("GET", {**GOOD, "authorization": "Basic c2VjcmV0"}, 401),
        ("GET", {**GOOD, "authorization": "Bearer  "}, 401),
        ("DELETE", GOOD, 405),
        ("OPTIONS", GOOD, 405),
        ("POST", GOOD, 415),
        ("POST", {**GOOD, "content-type": "text/plain"}, 415),
        ("POST", {**GOOD, "content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_each_rule_of_admission_has_its_refusal(
    method: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(BombyxError) as caught:
        admit(method, tuple(headers.items()), port=8787, keys=Keys(TOKEN, API_KEY))
    assert caught.value.status == status


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8787", "[::1]:8787", "localhost:8787", "LOCALHOST:8787"]
)
def test_our_own_names_are_admitted(host: str) -> None:
    headers = tuple({**JSON, "host": host, "authorization": f"bearer {TOKEN}"}.items())
    assert admit("POST", headers, port=8787, keys=Keys(TOKEN, API_KEY)) == f"Bearer {API_KEY}"


def test_without_a_configured_key_the_token_buys_nothing() -> None:
    with pytest.raises(BombyxError) as caught:
        admit("GET", tuple(GOOD.items()), port=8787, keys=Keys(TOKEN, ""))
    assert caught.value.status == 401


def test_a_busy_port_leads_to_the_next_free_one() -> None:
    with loopback_sockets(0) as first:
        port = first[0].getsockname()[1]
        with loopback_sockets(port) as second:
            assert second[0].getsockname()[1] > port
            assert {one.getsockname()[0] for one in second} <= {"127.0.0.1", "::1"}


def test_when_no_port_is_free_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(_self: socket.socket, _address: object) -> None:
        raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(socket.socket, "bind", taken)
    with pytest.raises(SetupError, match="--port"), loopback_sockets(8787):
        pass
    monkeypatch.setattr(
        socket.socket, "bind", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "denied"))
    )
    with pytest.raises(SetupError, match="denied"), loopback_sockets(8787):
        pass


@pytest.mark.parametrize(
    ("gateway", "trusted"),
    [("http://127.0.0.1:8080", False), ("http://[::1]:1", False), ("https://g.example", True)],
)
async def test_a_gateway_on_this_machine_is_reached_past_any_proxy(
    gateway: str, *, trusted: bool
) -> None:
    async with open_pool(gateway) as pool:
        assert pool.trust_env is trusted


async def test_transports_reach_a_local_gateway_past_any_proxy(
    session: Session, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    async with AsyncOpenAI(base_url=f"{origin}/v1", api_key="k", http_client=client) as sdk:
        answer = await sdk.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == ANSWER


async def test_every_refusal_of_the_sidecar_can_be_asked_about(sidecar: str) -> None:
    """What never saw the gateway has a name all the same: SDKs show `request_id` of errors."""
    bearer = {"authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(base_url=sidecar, headers=bearer, trust_env=False) as http:
        refused = [
            await http.delete("/v1/chat/completions"),
            await http.post("/v1/chat/completions", json={"model": MODEL}),
            await http.get("/v1/models", headers={"authorization": ""}),
        ]
    ids = [one.headers["x-request-id"] for one in refused]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("req_") for one in ids)


async def test_a_body_that_is_announced_as_too_long_is_not_waited_for(sidecar: str) -> None:
    url = httpx2.URL(sidecar)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {url.netloc.decode()}\r\n"
        f"authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"
        f"content-length: {2**40}\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_what_the_gateway_says_of_limits_and_time_reaches_the_sdk(
    sdk: AsyncOpenAI, peer: Peer
) -> None:
    told = {"x-ratelimit-remaining-requests": "7", "openai-processing-ms": "12"}
    peer.labels = {**told, "set-cookie": "a=b"}
    whole = await sdk.chat.completions.with_raw_response.create(**ASK)
    async with sdk.chat.completions.with_streaming_response.create(**ASK, stream=True) as streamed:
        await streamed.read()
    for raw in (whole, streamed):
        assert told.items() <= dict(raw.headers).items()
        assert raw.headers["x-request-id"] == "req-1"
        assert "set-cookie" not in raw.headers
    assert streamed.headers["cache-control"] == "no-cache"
