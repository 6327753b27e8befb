"""What every engine must do; each implementation gives an `engine` fixture and a `Subject`."""

import asyncio
import json
import secrets
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from bombyx.chat.size import max_input_bound
from bombyx.errors import EngineFailed, ModelNotFound, NotFound, RequestError
from bombyx.money.cost import Tokens
from worker.engine.port import Answer, Chunk, Engine, EngineEvent, EngineRequest, Progress

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Subject:
    """An engine and prompts that it answers predictably."""

    model: str
    short: str
    long: str
    stop: str
    prompt_tokens: int | None = None
    opening: str = "say: one two"
    """A prompt without a template that is continued."""
    embeds: bool = False
    slowly: dict[str, Any] = field(default_factory=dict)
    """Fields that make the long answer take well over a second."""


def request_of(subject: Subject, prompt: str, **fields: Any) -> EngineRequest:
    body = {
        "model": subject.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        **fields,
    }
    return EngineRequest(
        path=fields.pop("path", PATH),
        body=body,
        # As in service: an engine may still be busy forgetting the last one's.
        request_id=secrets.token_hex(16),
        cache_salt="ab" * 32,
        completion_id="chatcmpl-1",
        created=1_700_000_000,
    )


async def collect(engine: Engine, request: EngineRequest) -> list[EngineEvent]:
    async with aclosing(engine.run(request)) as events:
        return [event async for event in events]


async def text_and_reasons(
    engine: Engine, request: EngineRequest
) -> tuple[dict[int, str], dict[int, list[str]], Tokens]:
    texts: dict[int, str] = {}
    reasons: dict[int, list[str]] = {}
    tokens = Tokens()
    for event in await collect(engine, request):
        assert isinstance(event, Chunk)
        tokens = event.tokens
        assert event.payload.keys() == {"id", "object", "created", "model", "choices"}
        assert event.payload["object"] == "chat.completion.chunk"
        assert event.payload["created"] == 1_700_000_000
        for choice in event.payload["choices"]:
            index = choice["index"]
            texts[index] = texts.get(index, "") + (choice["delta"].get("content") or "")
            if choice["finish_reason"]:
                reasons.setdefault(index, []).append(choice["finish_reason"])
    return texts, reasons, tokens


class EngineContract:
    async def test_a_stream_and_a_whole_answer_agree(
        self, engine: Engine, subject: Subject
    ) -> None:
        streamed = request_of(subject, subject.short, stream=True, max_tokens=64)
        texts, reasons, tokens = await text_and_reasons(engine, streamed)
        events = await collect(engine, request_of(subject, subject.short, max_tokens=64))
        answer = events[-1]
        assert isinstance(answer, Answer)
        assert all(isinstance(event, Progress) for event in events[:-1])
        assert len(events) > 2
        message = answer.payload["choices"][0]["message"]
        assert message["content"] == texts[0] != ""
        assert reasons == {0: ["stop"]}
        assert answer.payload["model"] == subject.model
        assert answer.payload["id"] == "chatcmpl-1"
        assert (answer.tokens.prompt, answer.tokens.completion) == (
            tokens.prompt,
            tokens.completion,
        )
        assert answer.payload["usage"]["completion_tokens"] == tokens.completion
        assert answer.payload["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}

    async def test_counts_only_grow(self, engine: Engine, subject: Subject) -> None:
        events = await collect(engine, request_of(subject, subject.short, stream=True))
        counts = [event.tokens.completion for event in events]
        assert counts == sorted(counts)
        assert counts[-1] > 1

    async def test_the_prompt_is_counted_exactly_before_it_runs(
        self, engine: Engine, subject: Subject
    ) -> None:
        request = request_of(subject, subject.short, stream=True, max_tokens=4)
        told = await engine.count_prompt(request.path, request.body)
        events = await collect(engine, request)
        assert told == events[-1].tokens.prompt
        assert subject.prompt_tokens in (None, told)

    @pytest.mark.parametrize("prompt", ["", "a", "\n\n\t \0", "äöü😀" * 20, "<|im_end|>" * 30])
    async def test_no_prompt_is_longer_than_its_bytes_bound(
        self, engine: Engine, subject: Subject, prompt: str
    ) -> None:
        body = request_of(subject, prompt).body
        (model,) = engine.models()
        bound = max_input_bound(
            body,
            bytes_factor=model.bytes_factor,
            overhead=model.overhead,
            max_image_tokens=model.max_image_tokens,
        )
        told = await engine.count_prompt(PATH, body)
        assert told is not None
        assert 0 < told <= bound

    async def test_the_output_limit_holds(self, engine: Engine, subject: Subject) -> None:
        request = request_of(subject, subject.long, stream=True, max_tokens=5)
        _, reasons, tokens = await text_and_reasons(engine, request)
        assert reasons == {0: ["length"]}
        assert tokens.completion == 5

    async def test_a_stop_sequence_ends_the_answer(self, engine: Engine, subject: Subject) -> None:
        request = request_of(subject, subject.short, stream=True, stop=[subject.stop])
        texts, reasons, _ = await text_and_reasons(engine, request)
        assert reasons == {0: ["stop"]}
        assert texts[0]
        assert subject.stop not in texts[0]

    async def test_two_choices_share_the_prompt_and_add_their_tokens(
        self, engine: Engine, subject: Subject
    ) -> None:
        one = request_of(subject, subject.short, stream=True)
        texts, _, single = await text_and_reasons(engine, one)
        two = request_of(subject, subject.short, stream=True, n=2)
        both, reasons, tokens = await text_and_reasons(engine, two)
        assert both == {0: texts[0], 1: texts[0]}
        assert reasons == {0: ["stop"], 1: ["stop"]}
        assert tokens.prompt == single.prompt
        assert tokens.completion == 2 * single.completion

    @pytest.mark.parametrize("stream", [True, False])
    async def test_closing_the_run_stops_the_engine_within_a_second(
        self, engine: Engine, subject: Subject, *, stream: bool
    ) -> None:
        request = request_of(
            subject, subject.long, stream=stream, max_tokens=1500, **subject.slowly
        )
        seen = Tokens()
        async with aclosing(engine.run(request)) as events:
            async for event in events:
                seen = event.tokens
                if seen.completion >= 3:
                    break
            assert (await engine.load()).running == 1
        assert seen.completion >= 3
        await self._idle_within_a_second(engine)

    async def test_cancelling_the_task_stops_the_engine_within_a_second(
        self, engine: Engine, subject: Subject
    ) -> None:
        request = request_of(subject, subject.long, max_tokens=1500, **subject.slowly)
        begun = asyncio.Event()

        async def consume() -> None:
            async with aclosing(engine.run(request)) as events:
                async for _ in events:
                    begun.set()

        task = asyncio.create_task(consume())
        await begun.wait()
        assert (await engine.load()).running == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self._idle_within_a_second(engine)

    async def _idle_within_a_second(self, engine: Engine) -> None:
        async with asyncio.timeout(1):
            while (await engine.load()).running:
                await asyncio.sleep(0.01)

    async def test_an_unknown_model_is_refused(self, engine: Engine, subject: Subject) -> None:
        request = request_of(subject, subject.short, model="nobody")
        with pytest.raises(ModelNotFound):
            await collect(engine, request)

    async def test_an_unknown_path_fails(self, engine: Engine, subject: Subject) -> None:
        request = request_of(subject, subject.short)
        odd = EngineRequest("/v1/nothing", request.body, "r", "ab")
        with pytest.raises((NotFound, EngineFailed)):
            await collect(engine, odd)

    async def test_a_prompt_beyond_the_context_is_refused_without_an_echo(
        self, engine: Engine, subject: Subject
    ) -> None:
        request = request_of(subject, "canary " * 40_000, max_tokens=4, stream=True)
        with pytest.raises(RequestError) as caught:
            await collect(engine, request)
        assert caught.value.code == "context_length_exceeded"
        assert "canary" not in str(caught.value)

    async def test_an_answer_follows_a_json_schema(self, engine: Engine, subject: Subject) -> None:
        schema = {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
            "required": ["ok", "kind"],
            "additionalProperties": False,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        request = request_of(subject, subject.short, response_format=wanted, max_tokens=64)
        answer = (await collect(engine, request))[-1]
        assert isinstance(answer, Answer)
        made = json.loads(answer.payload["choices"][0]["message"]["content"])
        assert made.keys() == {"ok", "kind"}
        assert isinstance(made["ok"], bool)
        assert made["kind"] in {"a", "b"}

    async def test_log_probabilities_come_with_the_tokens(
        self, engine: Engine, subject: Subject
    ) -> None:
        request = request_of(
            subject, subject.short, logprobs=True, top_logprobs=2, max_tokens=3, n=1
        )
        answer = (await collect(engine, request))[-1]
        assert isinstance(answer, Answer)
        entries = answer.payload["choices"][0]["logprobs"]["content"]
        assert entries
        for entry in entries:
            assert {"token", "logprob", "bytes", "top_logprobs"} <= entry.keys()
            assert len(entry["top_logprobs"]) == 2

    async def test_the_model_record_is_complete(self, engine: Engine, subject: Subject) -> None:
        (model,) = engine.models()
        assert model.id == subject.model
        assert len(bytes.fromhex(model.weights)) == len(bytes.fromhex(model.engine)) == 32
        assert model.context >= 2048
        assert model.bytes_factor == 1
