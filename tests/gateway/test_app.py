"""What the outermost callable does when something unforeseen happens."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from gateway import app as gateway_app
from gateway.inference import bare, sealed
from gateway.inference.stream import Pipe
from tests.network.harness import MODEL, network
from tests.network.requests import bearer, body, directory, error_of, http, post, seal


async def test_a_bug_is_answered_in_the_envelope(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("canary")

    async with network(tmp_path, workers=0) as net:
        monkeypatch.setattr(sealed, "parse_request", broken)
        monkeypatch.setattr(bare, "parse_body", broken)
        monkeypatch.setattr(net.context.registry, "models", broken)
        for media in ("application/json", "application/vnd.bombyx.sealed"):
            answer = await post(net, b"{}", media=media)
            assert error_of(answer) == (500, "internal_error")
            assert "canary" not in answer.text
        async with http() as client:
            answer = await client.get(net.url + "/v1/models", headers=bearer(net.api_key))
            assert error_of(answer) == (500, "internal_error")
            assert "canary" not in answer.text


async def test_a_bug_within_an_answer_breaks_it_off(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise LookupError

    async with network(tmp_path, workers=1) as net:
        monkeypatch.setattr(Pipe, "run", broken)
        request = seal(net, (await directory(net)).workers, body("say: x"))
        with pytest.raises(httpx2.RemoteProtocolError):
            await post(net, request.encode())


async def test_while_draining_nothing_new_is_taken(tmp_path: Any) -> None:
    async with network(tmp_path, workers=1) as net:
        request = seal(net, (await directory(net)).workers, body("say: x"))
        net.context.draining = True
        answers = [
            await post(net, request.encode()),
            await post(net, json.dumps(body("x")).encode(), media="application/json"),
        ]
        for answer in answers:
            assert error_of(answer) == (503, "draining")
            assert answer.headers["retry-after-ms"]
        async with http() as client:
            ready = await client.get(net.url + "/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        net.context.draining = False
        assert (await post(net, request.encode())).status_code == 200
        net.context.draining = True
        # What has run may still be read.
        assert (await post(net, request.encode())).status_code == 200


async def test_metrics_can_be_left_out(tmp_path: Any) -> None:
    async with network(tmp_path, workers=0, metrics=False) as net, http() as client:
        assert (await client.get(net.url + "/metrics")).status_code == 404


async def test_the_sweeper_outlives_a_failure(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_app, "SWEEP_SECONDS", 0.01)
    turns: list[int] = []

    def sweep() -> None:
        turns.append(1)
        raise LookupError

    async with network(tmp_path, workers=0) as net:
        monkeypatch.setattr(net.context.desk, "sweep", sweep)
        async with asyncio.timeout(5):
            while len(turns) < 3:
                await asyncio.sleep(0.01)


async def test_a_price_beyond_all_amounts_is_refused(tmp_path: Any) -> None:
    async with network(tmp_path, workers=0) as net:
        await net.add_worker(price_completion=10**15)
        content = json.dumps(body("hi", max_tokens=10**12, model=MODEL)).encode()
        answer = await post(net, content, media="application/json")
        assert error_of(answer) == (400, "unsupported_value")
