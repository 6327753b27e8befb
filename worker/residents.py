"""The models of a running worker: brought in and sent away while requests run (SPEC 1.7, 4.2).

What a worker serves is in its keyset, so each change is a new one, with new evidence and offers,
and the old links end when their requests have.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from bombyx.errors import SetupError
from worker.engine.port import Engine, EngineModel
from worker.engine.several import Several
from worker.engines import SCRATCH, build_engine, holds_safetensors
from worker.models.identity import identified
from worker.models.store import find_model, store_folder
from worker.settings import WorkerSettings

Say = Callable[[str], None]
Serve = Callable[[Sequence[EngineModel]], Awaitable["asyncio.Task[None]"]]
"""Makes the worker serve these models; raises `BombyxError` and then serves what it did.

What it returns is done when nothing is asked for under the keyset before.
"""

_BRANDS = ("sglang", "vllm")
_SCRIPTED, _OPENAI = "scripted", "openai"
_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to serve beside others; `path` is None where the engine needs none."""

    name: str
    path: Path | None

    @classmethod
    def parse(cls, text: str, settings: WorkerSettings) -> "Wanted":
        """`NAME=PATH`, a path, or a name of the model store; raises `SetupError`."""
        name, separator, path = text.partition("=")
        if settings.engine == _SCRIPTED:
            return cls(name, None)
        if settings.engine == _OPENAI:
            raise SetupError(
                "--engine openai serves what its server serves: load the model there, then start "
                "the worker again"
            )
        found = find_model(store_folder(settings.models), path if separator else text)
        return cls(name if separator else found.stem if found.is_file() else found.name, found)


class Residents:
    """Starts and stops engines beside the first one."""

    def __init__(self, settings: WorkerSettings, folder: Path, *, say: Say) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self.engine = Several()
        self.models: list[EngineModel] = []
        self._busy = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def begin(self, first: Engine) -> None:
        """The first engine and those that the settings name; raises what engines raise."""
        try:
            await first.start()
            found = await identified(first, self._settings, self._folder)
        except BaseException:
            await first.close()
            raise
        self.engine.add(first, names=[one.id for one in found])
        self.models = list(found)
        for text in self._settings.also:
            self.models += await self._bring(Wanted.parse(text, self._settings))

    async def load(self, text: str, serve: Serve) -> list[str]:
        """One more model, served when this returns; raises `BombyxError`."""
        async with self._busy:
            wanted = Wanted.parse(text, self._settings)
            found = await self._bring(wanted)
            try:
                await serve([*self.models, *found])
            except BaseException:
                for one in found:
                    await self.engine.remove(one.id)
                raise
            self.models += found
            return [one.id for one in found]

    async def unload(self, name: str, serve: Serve) -> None:
        """Offer it no longer; its engine ends with the last of its requests."""
        async with self._busy:
            rest = [one for one in self.models if one.id != name]
            if len(rest) == len(self.models):
                has = ", ".join(one.id for one in self.models)
                raise SetupError(f"this worker does not serve {name}; it has: {has}")
            if not rest:
                raise SetupError(
                    f"{name} is the only model: load another one first, or stop the worker"
                )
            before = await serve(rest)
            self.models = rest
            leaving = asyncio.create_task(self._send_away(name, before))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Stop every engine."""
        for task in list(self._leaving):
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self.engine.close()

    async def _send_away(self, name: str, before: "asyncio.Task[None]") -> None:
        await asyncio.wait({before})
        await self.engine.remove(name)
        _log.info("unloaded", model=name)

    async def _bring(self, wanted: Wanted) -> Sequence[EngineModel]:
        if any(one.id == wanted.name for one in self.models):
            raise SetupError(f"this worker serves {wanted.name} already")
        settings = self._settings.model_copy(
            update={
                "model": wanted.name,
                "model_path": wanted.path,
                "engine": self._kind(wanted),
                "also": (),
            }
        )
        place = self._folder / SCRATCH / hashlib.sha256(wanted.name.encode()).hexdigest()[:16]
        engine = build_engine(settings, state=place, say=self._say)
        try:
            await engine.start()
            found = await identified(engine, settings, place)
            self.engine.add(engine, names=[one.id for one in found])
        except BaseException:
            await engine.close()
            raise
        _log.info("loaded", models=[one.id for one in found])
        return found

    def _kind(self, wanted: Wanted) -> str:
        """A folder of safetensors wants the server that the settings name, a GGUF llama.cpp."""
        if wanted.path is None:
            return _SCRIPTED
        if not holds_safetensors(wanted.path):
            return "llamacpp"
        return self._settings.engine if self._settings.engine in _BRANDS else "auto"
