"""A worker that cannot begin an answer leaves it to the next candidate (SPEC 6.3)."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import text

from bombyx.errors import BombyxError, EngineFailed, EngineTimeout, Overloaded
from tests.network.harness import CREDIT, MODEL, Network, network
from worker.engine.port import EngineEvent, EngineRequest
from worker.engine.scripted import Scripted, ScriptedEngine

QUESTION: list[Any] = [{"role": "user", "content": "count: 3"}]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


class Broken(ScriptedEngine):
    """Looks idle and fails what it is given, before a word; `times` it may, shared by engines."""

    def __init__(self, error: BombyxError, times: list[int]) -> None:
        super().__init__(Scripted(slots=32))
        self.asked = 0
        self._error = error
        self._times = times

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        self.asked += 1
        if self._times:
            self._times.pop()
            raise self._error
        async for event in super().run(request):
            yield event


class Silent(ScriptedEngine):
    """The first of all that is asked thinks for ever before its first word."""

    def __init__(self, silent: "asyncio.Future[Silent]") -> None:
        super().__init__(Scripted(slots=32))
        self._first = silent

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        if not self._first.done():
            self._first.set_result(self)
            await asyncio.Event().wait()
        async for event in super().run(request):
            yield event


async def _text(sdk: openai.AsyncOpenAI, *, stream: bool) -> str:
    if not stream:
        answer = await sdk.chat.completions.create(model=MODEL, messages=QUESTION)
        return answer.choices[0].message.content or ""
    pieces = await sdk.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in pieces])


async def _receipts(net: Network) -> list[str]:
    await net.settled()
    async with net.context.engine.connect() as connection:
        return list((await connection.execute(text("SELECT disposition FROM receipt"))).scalars())


@pytest.mark.spec("6.3-a")
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_fails_before_its_first_token_costs_the_client_nothing(
    tmp_path: Path, *, stream: bool
) -> None:
    once = [1]
    engines = [Broken(EngineFailed("the engine's connection failed"), once) for _ in range(2)]
    async with network(tmp_path, workers=0) as net:
        for engine in engines:
            await net.add_worker(engine)
        assert await _text(net.sealed(), stream=stream) == "1 2 3"
        assert [engine.asked for engine in engines] == [1, 1]
        assert await _receipts(net) == ["billed"]


@pytest.mark.parametrize(
    "error",
    [EngineFailed("broke"), EngineTimeout("slow"), Overloaded("full")],
    ids=lambda e: e.code,
)
async def test_where_every_engine_fails_the_client_hears_why_and_pays_nothing(
    tmp_path: Path, error: BombyxError
) -> None:
    engines = [Broken(error, [1]), Broken(error, [1])]
    async with network(tmp_path, workers=0) as net:
        for engine in engines:
            await net.add_worker(engine)
        with pytest.raises(openai.APIStatusError) as caught:
            await _text(net.sealed(), stream=True)
        assert (caught.value.status_code, caught.value.code) == (error.status, error.code)
        assert [engine.asked for engine in engines] == [1, 1]
        assert await _receipts(net) == []
        assert await net.balance() == CREDIT


async def test_a_worker_that_stops_before_its_first_token_leaves_it_to_another(
    tmp_path: Path,
) -> None:
    first: asyncio.Future[Silent] = asyncio.get_running_loop().create_future()
    engines = [Silent(first), Silent(first)]
    async with network(tmp_path, workers=0) as net:
        running = {one: await net.add_worker(one, grace_seconds=0) for one in engines}
        asking = asyncio.create_task(_text(net.sealed(), stream=True))
        await running[await first].worker.close()
        assert await asking == "1 2 3"
        assert await _receipts(net) == ["billed"]
