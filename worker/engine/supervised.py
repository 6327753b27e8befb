"""An engine that lives in a process of ours: started, watched, and started again when it ends.

The same for llama.cpp, SGLang and vLLM; what differs is the `Launcher`. Between two lives requests
fail as `engine_failed` before anything is said, so that another worker answers them, and the load
is none, so that no gateway sends more.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import structlog

from bombyx.chat.body import Body
from bombyx.errors import BombyxError, EngineFailed
from worker.engine.life import Launcher, Life
from worker.engine.openai_http import OpenAIEngine
from worker.engine.port import EngineEvent, EngineModel, EngineRequest, Load

FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""A process that lived so long starts the back-off anew."""

_log = structlog.get_logger("worker.engine")


class SupervisedEngine:
    """An `Engine` that owns its server."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._model: EngineModel | None = None
        self._life: Life | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why it answers nothing just now, in one sentence."""

    @property
    def name(self) -> str:
        """Which engine it is, as `--engine` names it."""
        return self._launcher.name

    async def examine(self) -> None:
        """Learn what would be served, without starting anything; raises `SetupError`."""
        self._model = await self._launcher.describe()

    async def start(self) -> None:
        """Digest the files and start the server; raises `SetupError` or `EngineFailed`."""
        if self._model is None:
            await self.examine()
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop the server; running requests end with `EngineFailed`."""
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        await self._end()

    def models(self) -> list[EngineModel]:
        """The one model; none before `examine` or `start`."""
        return [] if self._model is None else [self._model]

    @property
    def pid(self) -> int | None:
        """The server's first process."""
        return None if self._life is None else self._life.process.pid

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """By the server's own template and tokenizer."""
        return await self._server().count_prompt(path, body)

    def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """Run one request in the server."""
        return self._server().run(request)

    async def load(self) -> Load:
        """The server's own."""
        return await self._server().load()

    def _server(self) -> OpenAIEngine:
        if self._life is None:
            raise EngineFailed("the engine is starting again")
        return self._life.http

    async def _launch(self) -> None:
        if self._model is None:
            raise EngineFailed("the engine's model is not known yet")
        self._life = await self._launcher.launch(self._model)

    async def _keep(self) -> None:
        """Start the server again whenever it ends, slower each time that it dies young."""
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            born = loop.time()
            if self._life is not None:
                reason = await self._life.over()
                _log.error("engine_ended", engine=self._launcher.name, reason=reason)
                self.trouble = f"{self.name} ended ({reason}) and is started again"
                await self._end()
            if loop.time() - born > STEADY_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)
            await self._begin_again()

    async def _begin_again(self) -> None:
        try:
            if await self._launcher.describe() != self._model:
                # What was attested is no longer what would answer.
                _log.error("model_changed", engine=self._launcher.name)
                self.trouble = (
                    "the model's files are not what this worker attested: put them back, or "
                    "start the worker again to attest what is there"
                )
                return
            await self._launch()
            self.trouble = None
            _log.info("engine_began_again", engine=self._launcher.name)
        except (BombyxError, OSError) as error:
            _log.error("engine_failed", engine=self._launcher.name, reason=str(error))
            self.trouble = f"{self.name} does not start again: {error}"

    async def _end(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            await life.stop()
