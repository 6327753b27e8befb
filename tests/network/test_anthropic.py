"""Anthropic's own SDK at every door: bare, through the sealing transport, through the sidecar.

What its `/v1/messages` answers is a Message, an error or a count, and never another dialect.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

import bombyx
from bombyx.client.opening import open_session
from bombyx.client.sidecar import Place, Sidecar
from bombyx.client.sidecar_guard import Keys
from bombyx.client.sidecar_server import loopback_sockets
from bombyx.client.upstream_aiohttp import open_pool
from gateway.accounts.repository import Accounts
from tests.bombyx.client.peer import serve
from tests.network.harness import MODEL, Network
from tests.network.liar import liar
from tests.network.requests import SEALED, bearer, http

DOORS = ("bare", "sealed", "sidecar")
pytestmark = pytest.mark.asyncio(loop_scope="module")
at_every_door = pytest.mark.parametrize("door", DOORS)

HELLO: Any = [{"role": "user", "content": "say: hello there"}]
ASK: Any = {"model": MODEL, "max_tokens": 50, "messages": HELLO}
TOOLS: Any = [{"name": "get_time", "input_schema": {"type": "object", "properties": {}}}]
BROKEN: Any = {**ASK, "messages": [{"role": "user", "content": "fault: cut\ncount: 20"}]}


@contextlib.asynccontextmanager
async def sdk(net: Network, door: str, *, key: str = "") -> AsyncIterator[AsyncAnthropic]:
    key = key or net.api_key
    async with contextlib.AsyncExitStack() as stack:
        url, http_client = net.url, httpx2.AsyncClient(trust_env=False)
        if door == "sealed":
            http_client = bombyx.async_http_client(policy=net.policy)
        elif door == "sidecar":
            sockets = stack.enter_context(loopback_sockets(0))
            pool = await stack.enter_async_context(open_pool(net.url))
            place = Place(sockets[0].getsockname()[1], Keys("side-token", ""), net.url)
            app = Sidecar(open_session(net.policy), place, pool)
            url = await stack.enter_async_context(serve(app, sockets))
        stack.push_async_callback(http_client.aclose)
        yield AsyncAnthropic(base_url=url, api_key=key, http_client=http_client, max_retries=0)


def shown(error: anthropic.APIStatusError) -> tuple[int, str | None, Any, Any]:
    """Status, Anthropic's type, and our code and param beside it; the envelope is held whole."""
    body = error.body
    assert isinstance(body, dict)
    assert body.keys() >= {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert error.type == body["error"]["type"]
    return error.status_code, error.type, body["error"]["code"], body["error"]["param"]


@at_every_door
async def test_a_message_whole_and_streamed_has_its_name(shared: Network, door: str) -> None:
    async with sdk(shared, door) as client:
        whole = await client.messages.create(**ASK)
        assert whole.content[0].text == "hello there"
        assert (whole._request_id or "").startswith("req_")
        async with client.messages.stream(**ASK) as stream:
            assert "".join([text async for text in stream.text_stream]) == "hello there"
            assert (await stream.get_final_message()).stop_reason == "end_turn"


@pytest.mark.spec("19-b")
@at_every_door
async def test_tokens_are_counted_as_the_engine_will_and_cost_nothing(
    shared: Network, door: str
) -> None:
    system = "be kind"
    async with sdk(shared, door) as client:
        used = (await client.messages.create(**ASK, system=system, tools=TOOLS)).usage
        await shared.settled()
        before = await shared.balance()
        alone = await client.messages.count_tokens(model=MODEL, messages=HELLO)
        told = await client.messages.count_tokens(
            model=MODEL, messages=HELLO, system=system, tools=TOOLS
        )
        long = [{"role": "user", "content": "word " * 40_000}]
        beyond = await client.messages.count_tokens(model=MODEL, messages=long)  # type: ignore[arg-type]
    assert told.input_tokens == used.input_tokens + (used.cache_read_input_tokens or 0)
    assert 0 < alone.input_tokens < told.input_tokens
    assert beyond.input_tokens > 40_000, "a prompt beyond the context is what one counts for"
    await shared.settled()
    assert await shared.balance() == before
    assert await shared.context.store.billing_gap() == 0


Asking = Callable[[AsyncAnthropic], Any]
WRONG: dict[str, tuple[Asking, tuple[int, str, str, str | None]]] = {
    "field": (
        lambda client: client.messages.create(**ASK, extra_body={"surprise": 1}),
        (400, "invalid_request_error", "unsupported_parameter", "surprise"),
    ),
    "value": (
        lambda client: client.messages.create(**ASK, extra_body={"temperature": 7}),
        (400, "invalid_request_error", "invalid_request", "temperature"),
    ),
    "field_of_a_count": (
        lambda client: client.messages.count_tokens(
            model=MODEL, messages=HELLO, extra_body={"max_tokens": 5}
        ),
        (400, "invalid_request_error", "unsupported_parameter", "max_tokens"),
    ),
    "model": (
        lambda client: client.messages.create(**{**ASK, "model": "nobody/has-it"}),
        (404, "not_found_error", "model_not_found", "model"),
    ),
    "path": (
        lambda client: client.messages.batches.list(),
        (404, "not_found_error", "not_found", None),
    ),
    "size": (
        lambda client: client.messages.create(**{**ASK, "system": "x" * 2**21}),
        (413, "request_too_large", "request_too_large", None),
    ),
}


@pytest.mark.spec("19-b")
# aiohttp warns of a body over 1 MiB, which is also where this gateway's limit lies.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@at_every_door
@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_request_is_refused_in_anthropics_words(
    shared: Network, door: str, name: str
) -> None:
    ask, expected = WRONG[name]
    async with sdk(shared, door) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await ask(client)
    assert shown(caught.value) == expected
    # Where it never saw a gateway only the sidecar has a name for it.
    named = caught.value.body["request_id"]  # type: ignore[index]
    assert named == caught.value.request_id or (named is None and door != "bare")


@at_every_door
async def test_an_unknown_key_is_an_authentication_error(shared: Network, door: str) -> None:
    async with sdk(shared, door, key="bx-nobody") as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await client.messages.create(**ASK)
    assert shown(caught.value) == (401, "authentication_error", "invalid_api_key", None)
    assert caught.value.request_id == caught.value.body["request_id"]  # type: ignore[index]


@at_every_door
async def test_an_empty_account_is_a_billing_error(shared: Network, door: str) -> None:
    accounts = Accounts(shared.context.engine)
    poor = await accounts.create("poor")
    _, key = await accounts.create_key(poor.id, name="poor")
    async with sdk(shared, door, key=key.secret) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(**ASK)
    assert shown(caught.value)[:3] == (402, "billing_error", "insufficient_quota")


@pytest.mark.spec("19-b")
@at_every_door
async def test_a_stream_that_breaks_raises_anthropics_error(shared: Network, door: str) -> None:
    async with sdk(shared, door) as client:
        stream = await client.messages.create(**BROKEN, stream=True)
        with pytest.raises(anthropic.APIStatusError) as caught:
            [event async for event in stream]
        assert shown(caught.value)[1:3] == ("api_error", "engine_failed")
        with pytest.raises(anthropic.APIStatusError) as whole:
            await client.messages.create(**BROKEN)
    assert shown(whole.value)[:2] == (502, "api_error")
    assert whole.value.request_id


@pytest.mark.spec("14.3-f")
@at_every_door
async def test_busy_workers_are_an_overloaded_error_that_may_be_repeated(
    empty: Network, door: str
) -> None:
    async with liar(empty) as one, sdk(empty, door) as client:
        asked = asyncio.create_task(client.messages.create(**ASK))
        for _ in range(1 if door == "bare" else 2):
            await one.refuse(await one.job(), "busy", "worker")
        with pytest.raises(anthropic.APIStatusError) as caught:
            await asked
    assert shown(caught.value)[:3] == (503, "overloaded_error", "overloaded")
    headers = caught.value.response.headers
    assert (headers["x-should-retry"], headers["retry-after"]) == ("true", "1")


@pytest.mark.spec("19-b")
@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/v1/messages", {}, 405, "method_not_allowed"),
        ("POST", "/v1/messages/batches", {}, 404, "not_found"),
        ("POST", "/v1/messages", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/v1/messages", {"content-type": SEALED}, 400, "malformed_sealed_request"),
        ("POST", "/v1/messages", {"upgrade": "h2c", "connection": "upgrade"}, 400, None),
        ("POST", "/v1/messages/count_tokens", {f"x-{n}": "" for n in range(200)}, 431, None),
    ],
)
async def test_whatever_refuses_at_the_gateway_speaks_anthropics_dialect(
    shared: Network, method: str, path: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    async with http() as client:
        answer = await client.request(
            method, shared.url + path, content=b"{}", headers={**bearer(shared.api_key), **headers}
        )
    told = answer.json()
    assert answer.status_code == status
    assert told["type"] == "error"
    assert code is None or told["error"]["code"] == code
    name = answer.headers["x-request-id"]
    assert told["request_id"] == name == answer.headers["request-id"]


async def test_a_refusal_with_proof_keeps_anthropics_type(empty: Network) -> None:
    """RFC 9457's type would stand where its SDKs look for theirs."""
    async with liar(empty) as one, http() as client:
        asked = asyncio.create_task(
            client.post(
                f"{empty.url}/v1/messages", content=json.dumps(ASK), headers=_json(empty.api_key)
            )
        )
        await one.refuse(await one.job(), "context_length_exceeded", "client")
        answer = await asked
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (told["type"], told["code"]) == ("error", "context_length_exceeded")
    assert told["error"]["type"] == "invalid_request_error"
    assert len(told["refusals"]) == 1


def _json(key: str) -> dict[str, str]:
    return {**bearer(key), "content-type": "application/json"}


async def test_openais_paths_have_no_second_name(shared: Network) -> None:
    async with http() as client:
        answer = await client.post(f"{shared.url}/v1/chat/completions", content=b"{}")
        listed = await client.get(f"{shared.url}/v1/models")
    for one in (answer, listed):
        assert one.headers["x-request-id"]
        assert "request-id" not in one.headers
        assert one.json().keys() == {"error"}
