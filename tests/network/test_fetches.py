"""No address in a request is ever fetched: each place that could hold one, on each path (SPEC 4.1).

A listener waits at that address, and every attempt of this process to look a name up or to connect
anywhere is noted. Gateway, worker and client of these networks are all this process.
"""

import asyncio
import base64
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio

import bombyx
from tests.network.harness import MODEL, Network, network
from tests.network.requests import bearer, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT, RESPONSES, MESSAGES = "chat/completions", "responses", "messages"


@dataclass
class Seen:
    """Where this process went, while it was watched."""

    port: int
    on: bool = False
    went: list[object] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/secret.png"


_seen = Seen(0)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _seen.on:
        return
    if event == "socket.getaddrinfo":
        _seen.went.append(arguments[:2])
    elif event == "socket.connect" and arguments[1] not in _seen.went:
        _seen.went.append(arguments[1])


sys.addaudithook(_audit)  # hooks stay for ever; this one is off but in these tests


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """Whoever comes here followed an address out of a request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # noqa: FBT003
        _seen.port, _seen.went = listener.getsockname()[1], []
        yield listener
        _seen.on = False


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("fetches")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        async with network(folder, workers=1) as opened:
            yield opened


def user(part: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


def given(part: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [part]}]}


def block(part: Any) -> dict[str, Any]:
    return {"max_tokens": 5, **user(part)}


HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
REFERS = {"type": "object", "properties": {"a": {"$ref": "URL"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": REFERS}}
SCHEMA = {"name": "a", "schema": {"anyOf": [{"$ref": "URL#/a"}]}}

# What names an address in a request, with `URL` where it stands.
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "image": (CHAT, user({"type": "image_url", "image_url": {"url": "URL"}})),
    "image_text": (CHAT, user({"type": "image_url", "image_url": "URL"})),
    "image_file": (CHAT, user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})),
    "image_ftp": (CHAT, user({"type": "image_url", "image_url": {"url": "ftp://localhost/x"}})),
    "image_space": (CHAT, user({"type": "image_url", "image_url": {"url": " URL"}})),
    "image_case": (CHAT, user({"type": "image_url", "image_url": {"url": "DATA:image/png,URL"}})),
    "image_html": (CHAT, user({"type": "image_url", "image_url": {"url": "data:text/html,URL"}})),
    "image_bare": (CHAT, user({"type": "image_url", "image_url": {"url": "//localhost/x.png"}})),
    "video": (CHAT, user({"type": "video_url", "video_url": {"url": "URL"}})),
    "audio": (CHAT, user({"type": "audio_url", "audio_url": {"url": "URL"}})),
    "sound": (CHAT, user({"type": "input_audio", "input_audio": {"data": "URL"}})),
    "file": (CHAT, user({"type": "file", "file": {"file_id": "file-1"}})),
    "file_data": (CHAT, user({"type": "file", "file": {"file_data": "URL"}})),
    "tool_result": (
        CHAT,
        {
            "messages": [
                {
                    "role": "tool",
                    "tool_call_id": "a",
                    "content": [{"type": "image_url", "image_url": {"url": "URL"}}],
                }
            ]
        },
    ),
    "web_search_options": (CHAT, {**HI, "web_search_options": {"sites": ["URL"]}}),
    "tool_of_a_server": (CHAT, {**HI, "tools": [{"type": "mcp", "server_url": "URL"}]}),
    "schema_of_a_tool": (CHAT, {**HI, "tools": [TOOL]}),
    "schema_of_the_answer": (
        CHAT,
        {**HI, "response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    ),
    "template": (CHAT, {**HI, "chat_template": "URL"}),
    "lora": (CHAT, {**HI, "adapter_url": "URL"}),
    "callback": (CHAT, {**HI, "webhook_url": "URL"}),
    "input_image": (RESPONSES, given({"type": "input_image", "image_url": "URL"})),
    "input_image_file": (RESPONSES, given({"type": "input_image", "file_id": "file-1"})),
    "input_file": (RESPONSES, given({"type": "input_file", "file_url": "URL"})),
    "input_file_id": (RESPONSES, given({"type": "input_file", "file_id": "file-1"})),
    "input_output": (
        RESPONSES,
        {
            "input": [
                {
                    "type": "function_call_output",
                    "call_id": "a",
                    "output": [{"type": "input_image", "image_url": "URL"}],
                }
            ]
        },
    ),
    "input_item": (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}),
    "mcp": (
        RESPONSES,
        {"input": "hi", "tools": [{"type": "mcp", "server_label": "x", "server_url": "URL"}]},
    ),
    "web_search": (RESPONSES, {"input": "hi", "tools": [{"type": "web_search"}]}),
    "web_preview": (RESPONSES, {"input": "hi", "tools": [{"type": "web_search_preview"}]}),
    "file_search": (
        RESPONSES,
        {"input": "hi", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    ),
    "interpreter": (
        RESPONSES,
        {"input": "hi", "tools": [{"type": "code_interpreter", "container": "URL"}]},
    ),
    "computer": (RESPONSES, {"input": "hi", "tools": [{"type": "computer_use_preview"}]}),
    "prompt": (RESPONSES, {"input": "hi", "prompt": {"id": "pmpt_1"}}),
    "conversation": (RESPONSES, {"input": "hi", "conversation": "conv_1"}),
    "previous": (RESPONSES, {"input": "hi", "previous_response_id": "resp_1"}),
    "schema_of_a_function": (
        RESPONSES,
        {"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": REFERS}]},
    ),
    "schema_of_a_text": (
        RESPONSES,
        {"input": "hi", "text": {"format": {"type": "json_schema", **SCHEMA}}},
    ),
    "source": (MESSAGES, block({"type": "image", "source": {"type": "url", "url": "URL"}})),
    "source_file": (
        MESSAGES,
        block({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
    ),
    "document": (MESSAGES, block({"type": "document", "source": {"type": "url", "url": "URL"}})),
    "result": (
        MESSAGES,
        block(
            {
                "type": "tool_result",
                "tool_use_id": "a",
                "content": [{"type": "image", "source": {"type": "url", "url": "URL"}}],
            }
        ),
    ),
    "mcp_servers": (
        MESSAGES,
        {"max_tokens": 5, **HI, "mcp_servers": [{"type": "url", "url": "URL", "name": "x"}]},
    ),
    "server_tool": (
        MESSAGES,
        {"max_tokens": 5, **HI, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ),
    "fetch_tool": (
        MESSAGES,
        {"max_tokens": 5, **HI, "tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
    ),
    "schema_of_an_input": (
        MESSAGES,
        {"max_tokens": 5, **HI, "tools": [{"name": "f", "input_schema": REFERS}]},
    ),
    "embedding": ("embeddings", {"input": [{"type": "image_url", "image_url": {"url": "URL"}}]}),
    "completion": ("completions", {"prompt": [{"url": "URL"}]}),
}
TIERS = ("sealed", "bare")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("place", PLACES)
async def test_an_address_in_a_request_is_refused_and_nobody_goes_there(
    net: Network, canary: socket.socket, place: str, tier: str
) -> None:
    path, body = PLACES[place]
    content = json.dumps({"model": MODEL, **body}).replace("URL", _seen.url)
    assert _seen.url in content or "://" not in content or "file:" in content or "ftp:" in content
    async with client_of(net, tier) as client:
        # The connections that the client itself needs.
        answer = await client.get(f"{net.base_url}/models", headers=bearer(net.api_key))
        assert answer.status_code == 200
        _seen.on = True
        answer = await ask(client, net, path, content)
        await asyncio.sleep(0.01)
        _seen.on = False
    assert answer.status_code == 400, answer.text
    assert error_of(answer)[1] in {"unsupported_value", "unsupported_parameter", "invalid_request"}
    own = httpx2.URL(net.url)
    assert {one for one in _seen.went if one[1] != own.port} == set()  # type: ignore[index]
    with pytest.raises(BlockingIOError):
        canary.accept()


async def test_the_listener_and_the_hook_would_notice(net: Network, canary: socket.socket) -> None:
    """A test of the tests: this is what a fetch looks like here."""
    _seen.on = True
    reader, writer = await asyncio.open_connection("localhost", _seen.port)
    _seen.on = False
    canary.accept()[0].close()
    assert any(one[1] == _seen.port for one in _seen.went)  # type: ignore[index]
    writer.close()
    await reader.read()


@pytest.mark.parametrize("tier", TIERS)
async def test_an_address_that_is_only_text_is_text(
    net: Network, canary: socket.socket, tier: str
) -> None:
    pixel = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    parts = [
        {"type": "text", "text": f"say: see {_seen.url}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}},
    ]
    tool = {"type": "function", "function": {"name": "f", "description": _seen.url}}
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": parts}],
        "user": _seen.url,
        "metadata": {"url": _seen.url},
        "tools": [tool],
    }
    async with client_of(net, tier) as client:
        await client.get(f"{net.base_url}/models", headers=bearer(net.api_key))
        _seen.on = True
        answer = await ask(client, net, CHAT, json.dumps(body))
        _seen.on = False
    assert answer.status_code == 200, answer.text
    assert {one for one in _seen.went if one[1] == _seen.port} == set()  # type: ignore[index]
    with pytest.raises(BlockingIOError):
        canary.accept()


def client_of(net: Network, tier: str) -> httpx2.AsyncClient:
    if tier == "sealed":
        return bombyx.async_http_client(policy=net.policy)
    return httpx2.AsyncClient(trust_env=False)


async def ask(client: httpx2.AsyncClient, net: Network, path: str, body: str) -> httpx2.Response:
    headers = {"content-type": "application/json", **bearer(net.api_key)}
    return await client.post(f"{net.base_url}/{path}", content=body, headers=headers)
