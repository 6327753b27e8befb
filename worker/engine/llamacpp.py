"""llama.cpp from the `xllamacpp` wheel, in a child process that is started again when it dies.

The embedded engine: no compiler, no GPU. It knows no `cache_salt`, so prompts are never cached
across requests (SPEC 12).
"""

import asyncio
import contextlib
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bombyx import canonical
from bombyx.chat.body import Body
from bombyx.errors import EngineFailed, SetupError
from worker.engine.flavour import Flavour
from worker.engine.openai_http import OpenAIEngine, OpenAIServer
from worker.engine.port import EngineEvent, EngineModel, EngineRequest, Load

_CHILD = (sys.executable, "-m", "worker.engine.llamacpp_child")
_FIRST_BACKOFF_SECONDS = 0.2
_LAST_BACKOFF_SECONDS = 10.0
_STEADY_SECONDS = 30.0
"""A child that lived so long starts the back-off anew."""
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """Which file to serve under which name.

    `context` is tokens per request; `bytes_factor` and `overhead` bound prompts (SPEC 2.4):
    overhead covers a template's own words, such as a default system prompt.
    """

    gguf: Path
    model: str
    context: int = 2048
    slots: int = 4
    threads: int = 2
    bytes_factor: int = 1
    overhead: int = 64
    ready_seconds: float = 120.0
    first_token_seconds: float = 120.0
    idle_seconds: float = 60.0


class LlamaCppEngine:
    """An `Engine` that owns a llama.cpp child."""

    def __init__(self, settings: LlamaCpp) -> None:
        self._settings = settings
        self._model: EngineModel | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._http: OpenAIEngine | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Digest the file and start the child; raises `SetupError` or `EngineFailed`."""
        if self._model is None:
            self._model = await asyncio.to_thread(describe, self._settings)
        await self._start_child()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop the child; running requests end with `EngineFailed`."""
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        await self._stop_child()

    def models(self) -> list[EngineModel]:
        """The one model; none before `start`."""
        return [] if self._model is None else [self._model]

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._child is None else self._child.pid

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """By llama.cpp's own template and tokenizer."""
        return await self._server().count_prompt(path, body)

    def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """Run one request in the child."""
        return self._server().run(request)

    async def load(self) -> Load:
        """The child's slots."""
        return await self._server().load()

    def _server(self) -> OpenAIEngine:
        if self._http is None:
            raise EngineFailed("the engine is starting again")
        return self._http

    async def _start_child(self) -> None:
        key = secrets.token_hex(16)
        self._child = await asyncio.create_subprocess_exec(
            *_CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2**16,
        )
        try:
            url = await self._ready(self._child, key)
            http = OpenAIEngine(self._describe_server(url, key))
            await http.start()
        except BaseException:
            await self._stop_child()
            raise
        self._http = http

    async def _ready(self, child: asyncio.subprocess.Process, key: str) -> str:
        settings = self._settings
        config = {
            "gguf": str(settings.gguf),
            "api_key": key,
            "context": settings.context,
            "slots": settings.slots,
            "threads": settings.threads,
        }
        if child.stdin is None or child.stdout is None:
            raise EngineFailed("the engine's child has no pipes")
        child.stdin.write(json.dumps(config).encode() + b"\n")
        try:
            async with asyncio.timeout(settings.ready_seconds):
                await child.stdin.drain()
                line = await child.stdout.readline()
            return str(json.loads(line)["url"])
        except (TimeoutError, ValueError, KeyError, ConnectionError):
            raise EngineFailed("llama.cpp did not start with this model file") from None

    def _describe_server(self, url: str, key: str) -> OpenAIServer:
        return OpenAIServer(
            url=url,
            models=tuple(self.models()),
            flavour=Flavour.LLAMACPP,
            api_key=key,
            slots=self._settings.slots,
            first_token_seconds=self._settings.first_token_seconds,
            idle_seconds=self._settings.idle_seconds,
        )

    async def _keep(self) -> None:
        """Start the child again whenever it dies, slower each time that it dies young."""
        loop = asyncio.get_running_loop()
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            born = loop.time()
            if self._child is not None:
                await self._child.wait()
            await self._stop_child()
            if loop.time() - born > _STEADY_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF_SECONDS)
            with contextlib.suppress(EngineFailed, OSError):
                await self._start_child()

    async def _stop_child(self) -> None:
        http, self._http = self._http, None
        child, self._child = self._child, None
        if http is not None:
            await http.close()
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


def describe(settings: LlamaCpp) -> EngineModel:
    """The model's record: digest of the file, digest of engine, version and flags."""
    try:
        engine_version = version("xllamacpp")
    except PackageNotFoundError:
        raise SetupError('llama.cpp is not installed: pip install "bombyx[llamacpp]"') from None
    try:
        with settings.gguf.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SetupError(f"the model file cannot be read: {error.strerror}") from None
    flags = {"cache_prompt": False, "context": settings.context}
    engine = {"engine": "xllamacpp", "version": engine_version, "flags": flags}
    return EngineModel(
        id=settings.model,
        context=settings.context,
        weights=weights,
        engine=canonical.digest(engine).hex(),
        bytes_factor=settings.bytes_factor,
        overhead=settings.overhead,
        max_image_tokens=0,
    )
