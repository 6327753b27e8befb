"""What every answer carries, what browsers are told, and what happens while a worker is silent."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.inference.silence import HEARTBEAT, Silence
from tests.network.harness import Network, network
from tests.network.requests import CHAT, bearer, body, directory, error_of, http, post, seal

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = {"origin": "https://app.example"}


async def test_every_answer_has_openais_headers(shared: Network) -> None:
    content = json.dumps(body("say: x", stream=False)).encode()
    async with http() as client:
        answers = [
            await post(shared, content, media="application/json"),
            await post(shared, b"{", media="application/json"),
            await client.get(shared.base_url + "/models", headers=bearer(shared.api_key)),
            await client.get(shared.base_url + "/nothing"),
            await client.get(shared.base_url + "/models"),
        ]
    assert [answer.status_code for answer in answers] == [200, 400, 200, 404, 401]
    for answer in answers:
        assert answer.headers["x-request-id"].startswith("req_")
        assert int(answer.headers["openai-processing-ms"]) >= 0
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-should-retry" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PUT", CHAT, 405, "method_not_allowed"),
        ("OPTIONS", CHAT, 405, "method_not_allowed"),
        ("GET", "/v1/confidential/workers", 400, "invalid_request"),
        ("GET", "/v1/receipts?c=xyz", 400, "invalid_request"),
    ],
)
async def test_the_frameworks_own_refusals_are_in_the_envelope(
    shared: Network, method: str, path: str, status: int, code: str
) -> None:
    async with http() as client:
        answer = await client.request(method, shared.url + path, headers=bearer(shared.api_key))
    assert error_of(answer) == (status, code)
    assert status != 405 or answer.headers["allow"]


async def test_a_long_body_to_any_other_path_is_413(shared: Network) -> None:
    async def pieces() -> Any:
        for _ in range(40):
            yield b"x" * 2**16

    async with http() as client:
        for content in (b"x" * (2**20 + 1), pieces()):
            answer = await client.post(
                shared.url + "/admin/v1/accounts",
                headers={**bearer(shared.admin_key), "content-type": "application/json"},
                content=content,
            )
            assert error_of(answer) == (413, "request_too_large")


async def test_what_is_no_http_is_refused_in_the_envelope(shared: Network) -> None:
    host, _, port = shared.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"NONSENSE\r\n\r\n")
    answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: req_" in head
    assert json.loads(content)["error"]["code"] == "invalid_request"


async def preflight(
    net: Network, path: str, asked: str, headers: Mapping[str, str] = ORIGIN
) -> httpx2.Response:
    async with http() as client:
        return await client.options(
            net.url + path,
            headers={
                **headers,
                "access-control-request-method": "POST",
                "access-control-request-headers": asked,
            },
        )


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/admin/v1/accounts", "/v1/key"])
async def test_a_preflight_is_answered_without_a_key(shared: Network, path: str) -> None:
    asked = "authorization,content-type,x-stainless-lang,x-bombyx-route,cookie,evil\x00"
    answer = await preflight(shared, path, asked.replace("\x00", ""))
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert allowed == ["authorization", "content-type", "x-stainless-lang", "x-bombyx-route"]
    assert int(answer.headers["access-control-max-age"]) > 0


async def test_only_listed_origins_may_call(tmp_path: Path) -> None:
    async with network(tmp_path, workers=0, cors_origins=("https://app.example/",)) as net:
        good = await preflight(net, CHAT, "authorization")
        assert good.headers["access-control-allow-origin"] == "https://app.example"
        bad = await preflight(net, CHAT, "authorization", {"origin": "https://evil.example"})
        assert bad.status_code == 204
        for answer in (bad, await post(net, b"{", media="application/json")):
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "origin"


def patience(net: Network, *, heartbeat_s: float, idle_s: float) -> None:
    alarms = net.context.dispatcher.alarms
    net.context.silence = Silence(alarms, heartbeat_s=heartbeat_s, idle_s=idle_s)


async def test_a_silent_worker_s_stream_is_kept_open_by_comments(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1) as net:
        patience(net, heartbeat_s=0.15, idle_s=5)
        content = json.dumps(body("count: 3\npace: 500")).encode()
        answer = await post(net, content, media="application/json")
        events = [event for event in answer.content.split(b"\n\n") if event]
        comments = [event for event in events if event.startswith(b":")]
        assert comments
        assert comments[0] + b"\n\n" == HEARTBEAT
        data = [event for event in events if event not in comments]
        assert data[-1] == b"data: [DONE]"
        assert all(json.loads(event.removeprefix(b"data: ")) for event in data[:-1])


@pytest.mark.parametrize("tier", ["sealed", "bare"])
async def test_a_worker_that_falls_silent_is_given_up(tmp_path: Path, tier: str) -> None:
    async with network(tmp_path, workers=1) as net:
        patience(net, heartbeat_s=5, idle_s=0.3)
        silent = body("count: 9\nfault: hang 2")
        if tier == "bare":
            answer = await post(net, json.dumps(silent).encode(), media="application/json")
            assert b'"engine_timeout"' in answer.content
        else:
            request = seal(net, (await directory(net)).workers, silent)
            answer = await post(net, request.encode())
            assert b"engine_timeout" in answer.content
        assert answer.status_code == 200
