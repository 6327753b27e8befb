"""Engines side by side, each with models of its own, which come and go while requests run.

An `Engine` itself. A model that was taken away goes on for the requests that it runs; its engine is
closed when those have ended.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from bombyx.chat.body import Body
from bombyx.errors import ModelNotFound, SetupError
from worker.engine.port import Engine, EngineEvent, EngineModel, EngineRequest, Load
from worker.engine.supervised import SupervisedEngine

_IDLE_POLL_SECONDS = 0.05


class Several:
    """Knows which engine serves a model; engines are added once they are started."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._running: Counter[str] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    def add(self, engine: Engine, *, names: list[str] | None = None) -> None:
        """Take a started engine, for these of its models or all; raises `SetupError`."""
        offered = [one.id for one in engine.models()] if names is None else names
        for name in offered:
            if name in self._engines:
                raise SetupError(f"this worker has a model {name} already: give it another name")
        self._engines |= dict.fromkeys(offered, engine)

    async def remove(self, name: str) -> None:
        """Let its requests end, forget it, and close its engine if nothing else needs it."""
        while self._running[name]:  # noqa: ASYNC110 - rare, and so it costs requests nothing
            await asyncio.sleep(_IDLE_POLL_SECONDS)
        engine = self._engines.pop(name, None)
        self._running.pop(name, None)
        if engine is not None and engine not in self._engines.values():
            closing = asyncio.create_task(engine.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            # Shielded: who is cancelled here must not leave a server half stopped.
            await asyncio.shield(closing)

    def troubles(self) -> dict[str, str | None]:
        """By model: why its engine answers nothing, None where all is well."""
        return {
            name: engine.trouble if isinstance(engine, SupervisedEngine) else None
            for name, engine in self._engines.items()
        }

    def running(self, name: str) -> int:
        """Requests of one model that run here."""
        return self._running[name]

    async def start(self) -> None:
        """Engines come started."""

    async def close(self) -> None:
        """Close all of them."""
        engines, self._engines = list(dict.fromkeys(self._engines.values())), {}
        await asyncio.gather(*(engine.close() for engine in engines), *self._closing)

    def models(self) -> list[EngineModel]:
        """Of all engines."""
        engines = dict.fromkeys(self._engines.values())
        return [
            model
            for engine in engines
            for model in engine.models()
            if self._engines.get(model.id) is engine
        ]

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """By the model's engine."""
        return await self._engine(str(body.get("model"))).count_prompt(path, body)

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """On the model's engine."""
        name = str(request.body.get("model"))
        engine = self._engine(name)
        self._running[name] += 1
        try:
            async with aclosing(engine.run(request)) as events:
                async for event in events:
                    yield event
        finally:
            self._running[name] -= 1

    async def load(self) -> Load:
        """The sum."""
        engines = dict.fromkeys(self._engines.values())
        loads = await asyncio.gather(*(engine.load() for engine in engines))
        return Load(
            running=sum(one.running for one in loads),
            waiting=sum(one.waiting for one in loads),
            slots=sum(one.slots for one in loads),
        )

    async def load_of(self, name: str) -> Load:
        """Of one model's engine; raises `EngineFailed`."""
        return await self._engine(name).load()

    def _engine(self, name: str) -> Engine:
        engine = self._engines.get(name)
        if engine is None:
            raise ModelNotFound("this worker no longer serves the model", param="model")
        return engine
