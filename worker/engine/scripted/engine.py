"""The scripted engine behind the port: plays plans at their pace, with the faults they name."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bombyx import canonical
from bombyx.chat.body import CHAT_PATH, Body
from bombyx.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    ModelNotFound,
    NotFound,
)
from worker.engine.port import EngineEvent, EngineModel, EngineRequest, Load
from worker.engine.pump import events
from worker.engine.scripted.commands import Commands, read_commands
from worker.engine.scripted.plan import Plan, make_plan
from worker.engine.scripted.prefix_cache import PrefixCache
from worker.engine.scripted.words import TOKENS_PER_IMAGE, prompt_tokens

VERSION = "1"
_LIE_FACTOR = 1000


@dataclass(frozen=True, slots=True)
class Scripted:
    """Which models to play; every name gets the same answers.

    `prefill_seconds` is the pause for each prompt token that the prefix cache does not know, and
    `shares_cache` ignores salts: both are for tests of what a cache gives away (SPEC 12).
    """

    models: tuple[str, ...] = ("scripted",)
    context: int = 32_768
    slots: int = 1024
    idle_seconds: float = 60.0
    prefill_seconds: float = 0.0
    shares_cache: bool = False


class ScriptedEngine:
    """An `Engine` without a model."""

    def __init__(self, settings: Scripted | None = None) -> None:
        self._settings = settings or Scripted()
        self._running = 0
        self._cache = PrefixCache(shares=self._settings.shares_cache)

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to stop."""

    def models(self) -> list[EngineModel]:
        """One record per name."""
        engine = {"engine": "scripted", "version": VERSION, "context": self._settings.context}
        return [
            EngineModel(
                id=name,
                context=self._settings.context,
                weights=hashlib.sha256(f"scripted\0{name}".encode()).hexdigest(),
                engine=canonical.digest(engine).hex(),
                bytes_factor=1,
                overhead=64,
                max_image_tokens=TOKENS_PER_IMAGE,
            )
            for name in self._settings.models
        ]

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """Exactly what `run` will count."""
        _check_path(path)
        return len(prompt_tokens(body))

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """Play the prompt's commands."""
        raw = self._raw(request)
        self._running += 1
        try:
            async with aclosing(raw), aclosing(events(raw, request)) as clean:
                async for event in clean:
                    yield event
        finally:
            self._running -= 1

    async def load(self) -> Load:
        """Requests that run."""
        slots = self._settings.slots
        running = min(self._running, slots)
        return Load(running=running, waiting=self._running - running, slots=slots)

    async def _raw(self, request: EngineRequest) -> AsyncGenerator[dict[str, Any], None]:
        prompt = self._admit(request)
        commands = read_commands(request.body)
        plan = make_plan(request.body, commands)
        if commands.fault == "error":
            raise EngineFailed("the engine failed")
        cached = self._cache.take(request.cache_salt, prompt)
        if self._settings.prefill_seconds:
            await asyncio.sleep(self._settings.prefill_seconds * (len(prompt) - cached))
        usage = _Usage(len(prompt), cached, commands)
        choices = range(request.body.get("n") or 1)
        for index in choices:
            yield _chunk(index, {"role": "assistant", "content": ""}, usage=usage.so_far())
        is_cut = commands.fault == "cut"
        pieces = plan.pieces[: commands.fault_after] if is_cut else plan.pieces
        for position, piece in enumerate(pieces):
            await asyncio.sleep(commands.pace_seconds)
            await self._break(commands, position)
            for index in choices:
                usage.count(is_reasoning=piece.is_reasoning)
                yield _chunk(index, piece.delta, logprobs=piece.logprobs, usage=usage.so_far())
        await self._break(commands, commands.fault_after)
        if not is_cut:
            for index in choices:
                yield _end(index, plan, usage)

    def _admit(self, request: EngineRequest) -> list[str]:
        _check_path(request.path)
        if request.body["model"] not in self._settings.models:
            raise ModelNotFound("this engine does not serve the model", param="model")
        prompt = prompt_tokens(request.body)
        if len(prompt) > self._settings.context:
            raise ContextLengthExceeded("prompt and output are longer than the model's context")
        return prompt

    async def _break(self, commands: Commands, position: int) -> None:
        if position < commands.fault_after:
            return
        if commands.fault == "crash":
            raise EngineFailed("the engine's connection failed")
        if commands.fault == "hang":
            await asyncio.sleep(self._settings.idle_seconds)
            raise EngineTimeout("the engine gave no token in time")


class _Usage:
    """The counts that the engine claims; under `lie_tokens` far too many."""

    def __init__(self, prompt: int, cached: int, commands: Commands) -> None:
        self._prompt, self._cached = prompt, cached
        self._factor = _LIE_FACTOR if commands.fault == "lie_tokens" else 1
        self._completion = self._reasoning = 0

    def count(self, *, is_reasoning: bool) -> None:
        self._completion += 1
        self._reasoning += is_reasoning

    def so_far(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._prompt,
            "prompt_tokens_details": {"cached_tokens": self._cached},
            "completion_tokens": self._completion * self._factor,
            "completion_tokens_details": {"reasoning_tokens": self._reasoning},
        }


def _check_path(path: str) -> None:
    if path != CHAT_PATH:
        raise NotFound("this path is not served")


def _chunk(
    index: int,
    delta: dict[str, Any],
    *,
    usage: dict[str, Any],
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    choice = {
        "index": index,
        "delta": delta,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }
    return {"choices": [choice], "usage": usage}


def _end(index: int, plan: Plan, usage: _Usage) -> dict[str, Any]:
    return _chunk(index, {}, usage=usage.so_far(), finish_reason=plan.finish_reason)
