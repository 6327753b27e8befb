"""llama.cpp from the `xllamacpp` wheel, in a child process that is started again when it dies.

The embedded engine: no compiler, no GPU. It knows no `cache_salt`, so prompts are never cached
across requests (SPEC 12).
"""

import asyncio
import json
import secrets
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bombyx import canonical
from bombyx.errors import EngineFailed, SetupError
from worker.engine.flavour import Flavour
from worker.engine.life import Life, end
from worker.engine.openai_http import OpenAIEngine, OpenAIServer
from worker.engine.port import EngineModel
from worker.engine.supervised import SupervisedEngine
from worker.models.hashing import digest_file

_CHILD = (sys.executable, "-m", "worker.engine.llamacpp_child")
_DEEP_SECONDS = 10.0
CONTEXT = 2048
"""Tokens per request where nobody says: memory of a small machine holds a few of them."""


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """Which file to serve under which name.

    `context` is tokens per request; `bytes_factor` and `overhead` bound prompts (SPEC 2.4):
    overhead covers a template's own words, such as a default system prompt.
    """

    gguf: Path
    model: str
    context: int = CONTEXT
    slots: int = 4
    threads: int = 2
    bytes_factor: int = 1
    overhead: int = 64
    ready_seconds: float = 120.0
    first_token_seconds: float = 120.0
    idle_seconds: float = 60.0


class LlamaCppEngine(SupervisedEngine):
    """An `Engine` that owns a llama.cpp child."""

    def __init__(self, settings: LlamaCpp) -> None:
        super().__init__(LlamaCppLauncher(settings))


class LlamaCppLauncher:
    """A `Launcher` of llama.cpp's child."""

    name = "llamacpp"

    def __init__(self, settings: LlamaCpp) -> None:
        self._settings = settings

    async def describe(self) -> EngineModel:
        """Hash the file; raises `SetupError`."""
        return await asyncio.to_thread(describe, self._settings)

    async def launch(self, model: EngineModel) -> Life:
        """Start the child; raises `EngineFailed`."""
        key = secrets.token_hex(16)
        process = await asyncio.create_subprocess_exec(
            *_CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2**16,
        )
        try:
            url = await self._ready(process, key)
            http = OpenAIEngine(self._describe_server(url, key, model))
            await http.start()
        except BaseException:
            await end(process)
            raise
        return Life(process, http, deep_path="/health", deep_seconds=_DEEP_SECONDS)

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

    def _describe_server(self, url: str, key: str, model: EngineModel) -> OpenAIServer:
        return OpenAIServer(
            url=url,
            models=(model,),
            flavour=Flavour.LLAMACPP,
            api_key=key,
            slots=self._settings.slots,
            first_token_seconds=self._settings.first_token_seconds,
            idle_seconds=self._settings.idle_seconds,
        )


def describe(settings: LlamaCpp) -> EngineModel:
    """The model's record: digest of the file, digest of engine, version and flags."""
    try:
        engine_version = version("xllamacpp")
    except PackageNotFoundError:
        raise SetupError('llama.cpp is not installed: pip install "bombyx[llamacpp]"') from None
    try:
        _, weights = digest_file(settings.gguf)
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
