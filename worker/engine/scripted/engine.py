"""The scripted engine behind the port: plays plans at their pace, with the faults they name."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bombyx import canonical
from bombyx.chat.body import Body
from bombyx.chat.embeddings import embeddings_answer
from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    COUNT_TOKENS_PATH,
    DETOKENIZE_PATH,
    EMBEDDINGS_PATH,
    SILENT_PATHS,
    TOKENIZE_PATH,
)
from bombyx.chat.tokenizing import text_answer, tokens_answer
from bombyx.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    ModelNotFound,
)
from bombyx.money.cost import Tokens
from worker.engine.port import Answer, EngineEvent, EngineModel, EngineRequest, Load
from worker.engine.pump import events
from worker.engine.scripted.commands import Commands, read_commands
from worker.engine.scripted.plan import Plan, make_plan
from worker.engine.scripted.prefix_cache import PrefixCache
from worker.engine.scripted.texts import (
    DIMENSIONS,
    as_chat,
    numbers_of,
    prompts_of,
    text_of_numbers,
    text_tokens,
    vector,
)
from worker.engine.scripted.words import TOKENS_PER_IMAGE, prompt_tokens
from worker.engine.silent import counted, not_served

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
        return sum(map(len, _prompts(path, body)))

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """Play the prompt's commands."""
        prompts = self._admit(request)
        if request.path in SILENT_PATHS:
            yield self._silent(request, prompts)
            return
        raw = self._raw(request, prompts)
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

    async def _raw(
        self, request: EngineRequest, prompts: list[list[str]]
    ) -> AsyncGenerator[dict[str, Any], None]:
        commands, plans = _plans(request)
        if commands.fault == "error":
            raise EngineFailed("the engine failed")
        cached = sum(self._cache.take(request.cache_salt, one) for one in prompts)
        count = sum(map(len, prompts))
        if self._settings.prefill_seconds:
            await asyncio.sleep(self._settings.prefill_seconds * (count - cached))
        usage = _Usage(count, cached, commands)
        say = _text if request.path == COMPLETIONS_PATH else _chunk
        for index in range(len(plans)):
            yield say(index, {"role": "assistant", "content": ""}, usage=usage.so_far())
        is_cut = commands.fault == "cut"
        longest = max(len(plan.pieces) for plan in plans)
        for position in range(min(longest, commands.fault_after) if is_cut else longest):
            await asyncio.sleep(commands.pace_seconds)
            await self._break(commands, position)
            for index, plan in enumerate(plans):
                if position < len(plan.pieces):
                    piece = plan.pieces[position]
                    usage.count(is_reasoning=piece.is_reasoning)
                    told = usage.so_far()
                    yield say(index, piece.delta, logprobs=piece.logprobs, usage=told)
        await self._break(commands, commands.fault_after)
        if not is_cut:
            for index, plan in enumerate(plans):
                yield say(index, {}, usage=usage.so_far(), finish_reason=plan.finish_reason)

    def _admit(self, request: EngineRequest) -> list[list[str]]:
        """The prompts as the engine sees them."""
        prompts = _prompts(request.path, request.body)
        if request.body["model"] not in self._settings.models:
            raise ModelNotFound("this engine does not serve the model", param="model")
        if max(map(len, prompts), default=0) > self._settings.context:
            raise ContextLengthExceeded(
                "prompt and output exceed this model's maximum context limit"
            )
        return prompts

    def _silent(self, request: EngineRequest, prompts: list[list[str]]) -> Answer:
        body = request.body
        if request.path == COUNT_TOKENS_PATH:
            return counted(body, len(prompt_tokens(body)))
        if request.path == TOKENIZE_PATH:
            return Answer(tokens_answer(numbers_of(body["prompt"]), self._settings.context), _FREE)
        if request.path == DETOKENIZE_PATH:
            return Answer(text_answer(text_of_numbers(body["tokens"])), _FREE)
        size = body.get("dimensions", DIMENSIONS)
        vectors = [vector(text, size) for text in prompts_of(body["input"])]
        return Answer(
            embeddings_answer(vectors, body["model"]), Tokens(prompt=sum(map(len, prompts)))
        )

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


_FREE = Tokens()


def _prompts(path: str, body: Body) -> list[list[str]]:
    """The tokens of each prompt; raises `NotFound`."""
    if path == CHAT_PATH:
        return [prompt_tokens(body)]
    if path == COMPLETIONS_PATH:
        return [text_tokens(one) for one in prompts_of(body["prompt"])]
    if path == EMBEDDINGS_PATH:
        return [text_tokens(one) for one in prompts_of(body["input"])]
    if path in SILENT_PATHS:
        return []
    raise not_served()


def _plans(request: EngineRequest) -> tuple[Commands, list[Plan]]:
    """The first prompt's commands, and what each choice will say."""
    body, count = request.body, request.body.get("n") or 1
    if request.path == CHAT_PATH:
        commands = read_commands(body)
        return commands, [make_plan(body, commands)] * count
    chats = [as_chat(prompt, body) for prompt in prompts_of(body["prompt"])]
    given = [read_commands(chat) for chat in chats]
    plans = [make_plan(chat, one) for chat, one in zip(chats, given, strict=True)]
    return given[0], [plan for plan in plans for _ in range(count)]


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


def _text(index: int, delta: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The same for `/v1/completions`, where thoughts are words like others."""
    made = _chunk(index, {}, **members)
    choice = made["choices"][0]
    del choice["delta"]
    choice["text"] = delta.get("reasoning_content") or delta.get("content", "")
    return made
