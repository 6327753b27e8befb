"""What real SGLang lets nobody do, started as the worker starts it."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from bombyx.errors import EngineFailed, Overloaded
from tests.sglang import lane
from tests.sglang.lane import ENDLESS, SUBJECT
from tests.worker.engine.contract import collect, request_of
from worker.engine.openai_http import OpenAIEngine
from worker.engine.supervised import SupervisedEngine

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def status(engine: SupervisedEngine, method: str, path: str, key: str = "") -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    url = engine._server()._server.url + path
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, json={}) as response,
    ):
        return response.status


def group(engine: SupervisedEngine) -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if _group_of(one.pid) == engine.pid]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


async def test_every_route_but_health_wants_a_key_and_admin_routes_the_other(
    sglang: SupervisedEngine,
) -> None:
    server = sglang._server()._server
    assert await status(sglang, "GET", "/ready") == 200
    assert await status(sglang, "GET", "/v1/models") == 401
    assert await status(sglang, "GET", "/v1/models", server.api_key) == 200
    assert await status(sglang, "GET", "/v1/models", server.admin_key) == 401
    for path in ("/abort_request", "/flush_cache", "/update_weights_from_disk", "/start_profile"):
        assert await status(sglang, "POST", path) == 401
        assert await status(sglang, "POST", path, server.api_key) == 401


async def test_its_api_is_on_loopback_alone_and_its_keys_are_shown_nowhere(
    sglang: SupervisedEngine,
) -> None:
    server = sglang._server()._server
    processes = group(sglang)
    assert len(processes) >= 3  # itself, its scheduler, its detokenizer
    listening = {
        connection.laddr
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert ("127.0.0.1", int(server.url.rpartition(":")[2])) in listening
    # PyTorch's rendezvous store binds every address and takes no other: docs/engines.md.
    assert len([one for one in listening if one.ip not in ("127.0.0.1", "::1")]) <= 1
    for process in processes:
        shown = " ".join(process.cmdline()) + " ".join(process.environ().values())
        assert server.api_key not in shown
        assert server.admin_key not in shown


@pytest.mark.parametrize("choices", [1, 2])
async def test_closing_alone_stops_it_also_where_an_abort_by_name_cannot(
    sglang: SupervisedEngine, choices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIEngine, "_tell_abort", lambda *_: None)
    request = request_of(SUBJECT, SUBJECT.long, stream=True, n=choices, **ENDLESS)
    async with aclosing(sglang.run(request)) as events:
        for _ in range(6):
            await anext(events)
    async with asyncio.timeout(1):
        while (await sglang.load()).running:
            await asyncio.sleep(0.01)


async def test_an_abort_by_name_ends_the_answer_within_a_second(sglang: SupervisedEngine) -> None:
    request = request_of(SUBJECT, SUBJECT.long, stream=True, **ENDLESS)
    async with aclosing(sglang.run(request)) as events:
        await anext(events)
        await sglang._server()._abort(request.request_id)
        with pytest.raises(EngineFailed, match="broke off"):
            async with asyncio.timeout(1):
                await _drain(events)


async def _drain(events: Any) -> None:
    async for _ in events:
        pass


async def test_a_full_queue_is_told_before_the_answer(tmp_path: Path) -> None:
    engine = lane.sglang(tmp_path, slots=1, max_waiting=1)
    await engine.start()
    try:
        requests = [
            request_of(SUBJECT, SUBJECT.long, stream=True, max_tokens=200, logit_bias={"2": -100})
            for _ in range(6)
        ]
        done = await asyncio.gather(
            *(collect(engine, one) for one in requests), return_exceptions=True
        )
        assert any(isinstance(one, Overloaded) for one in done)
        assert any(isinstance(one, list) for one in done)
        assert all(isinstance(one, Overloaded | list) for one in done)
    finally:
        processes = group(engine)
        await engine.close()
    assert not [one for one in processes if one.is_running() and one.status() != "zombie"]
