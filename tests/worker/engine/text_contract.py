"""What every engine must do with prompts without a template, with texts and with tokens."""

import secrets
from typing import Any

import pytest

from bombyx.chat.paths import CHAT_PATH, COUNT_TOKENS_PATH
from bombyx.errors import NotFound, RequestError
from bombyx.money.cost import Tokens
from tests.worker.engine.contract import Subject, collect
from worker.engine.port import Answer, Chunk, Engine, EngineRequest

LEGACY = {"tokens", "token_logprobs", "top_logprobs", "text_offset"}


def completion(subject: Subject, prompt: Any, **fields: Any) -> EngineRequest:
    body = {"model": subject.model, "prompt": prompt, "temperature": 0, "max_tokens": 8, **fields}
    return asking("/v1/completions", body)


def asking(path: str, body: dict[str, Any]) -> EngineRequest:
    return EngineRequest(path, body, secrets.token_hex(16), "ab" * 32, "cmpl-1", 1_700_000_000)


async def whole(engine: Engine, request: EngineRequest) -> Answer:
    answer = (await collect(engine, request))[-1]
    assert isinstance(answer, Answer)
    return answer


def counted(tokens: Tokens) -> tuple[int, int]:
    """What does not depend on a cache."""
    return tokens.prompt, tokens.completion


class TextContract:
    async def test_a_completion_streams_what_it_answers_whole(
        self, engine: Engine, subject: Subject
    ) -> None:
        answer = await whole(engine, completion(subject, subject.opening))
        chunks = await collect(engine, completion(subject, subject.opening, stream=True))
        text, reasons = "", []
        for chunk in chunks:
            assert isinstance(chunk, Chunk)
            assert chunk.payload.keys() == {"id", "object", "created", "model", "choices"}
            assert chunk.payload["object"] == "text_completion"
            (choice,) = chunk.payload["choices"]
            assert choice.keys() == {"index", "text", "logprobs", "finish_reason"}
            text += choice["text"]
            reasons.append(choice["finish_reason"])
        (choice,) = answer.payload["choices"]
        assert (answer.payload["id"], answer.payload["model"]) == ("cmpl-1", subject.model)
        assert choice["text"] == text != ""
        assert [one for one in reasons if one] == [choice["finish_reason"]]
        assert counted(chunks[-1].tokens) == counted(answer.tokens)

    async def test_a_completions_prompt_is_counted_exactly_before_it_runs(
        self, engine: Engine, subject: Subject
    ) -> None:
        for prompt in (subject.short, [subject.short, "a"]):
            request = completion(subject, prompt)
            told = await engine.count_prompt(request.path, request.body)
            assert told == (await whole(engine, request)).tokens.prompt

    async def test_each_prompt_has_its_own_choices(self, engine: Engine, subject: Subject) -> None:
        prompts = [subject.short, subject.long]
        single = [await whole(engine, completion(subject, one, max_tokens=3)) for one in prompts]
        both = await whole(engine, completion(subject, prompts, max_tokens=3))
        texts = [one["text"] for one in both.payload["choices"]]
        assert texts == [one.payload["choices"][0]["text"] for one in single]
        assert [one["index"] for one in both.payload["choices"]] == [0, 1]
        assert counted(both.tokens) == tuple(
            sum(of) for of in zip(*(counted(one.tokens) for one in single), strict=True)
        )

    async def test_a_completions_log_probabilities_have_the_older_form(
        self, engine: Engine, subject: Subject
    ) -> None:
        answer = await whole(engine, completion(subject, subject.short, logprobs=2, max_tokens=3))
        (choice,) = answer.payload["choices"]
        told = choice["logprobs"]
        assert told.keys() == LEGACY
        assert len({len(values) for values in told.values()}) == 1
        assert "".join(told["tokens"]).startswith(choice["text"])
        assert all(len(tops) <= 2 for tops in told["top_logprobs"])

    async def test_tokens_are_text_again(self, engine: Engine, subject: Subject) -> None:
        body = {"model": subject.model, "prompt": "a cocoon", "add_special_tokens": False}
        told = (await whole(engine, asking("/v1/tokenize", body))).payload
        assert told["count"] == len(told["tokens"]) > 0
        assert told["max_model_len"] >= 2048
        body = {"model": subject.model, "tokens": told["tokens"]}
        answer = await whole(engine, asking("/v1/detokenize", body))
        assert answer.payload == {"text": "a cocoon", "prompt": "a cocoon"}
        assert answer.tokens == Tokens()

    async def test_a_conversation_is_counted_as_it_would_be_billed(
        self, engine: Engine, subject: Subject
    ) -> None:
        function = {"name": "get_time", "parameters": {"type": "object", "properties": {}}}
        said = {"role": "user", "content": subject.short}
        chat = {"model": subject.model, "messages": [said]}
        for body in (chat, {**chat, "tools": [{"type": "function", "function": function}]}):
            answer = await whole(engine, asking(COUNT_TOKENS_PATH, body))
            expected = await engine.count_prompt(CHAT_PATH, body)
            assert answer.payload == {"input_tokens": expected}
            assert answer.tokens == Tokens()
            assert await engine.count_prompt(COUNT_TOKENS_PATH, body) in (None, 0)

    async def test_token_numbers_are_a_prompt_too(self, engine: Engine, subject: Subject) -> None:
        body = {"model": subject.model, "prompt": subject.short, "add_special_tokens": True}
        told = (await whole(engine, asking("/v1/tokenize", body))).payload
        text = await whole(engine, completion(subject, subject.short))
        numbers = await whole(engine, completion(subject, told["tokens"]))
        assert numbers.payload["choices"] == text.payload["choices"]
        assert counted(numbers.tokens) == counted(text.tokens)

    async def test_embeddings_are_served_or_refused_in_words(
        self, engine: Engine, subject: Subject
    ) -> None:
        request = asking("/v1/embeddings", {"model": subject.model, "input": ["a", "b c"]})
        if not subject.embeds:
            with pytest.raises(NotFound, match="does not serve this endpoint"):
                await whole(engine, request)
            return
        answer = await whole(engine, request)
        told = await engine.count_prompt(request.path, request.body)
        assert answer.tokens == Tokens(prompt=told or 0)
        first, second = answer.payload["data"]
        assert (first["index"], second["index"]) == (0, 1)
        assert len(first["embedding"]) == len(second["embedding"]) > 1
        assert (await whole(engine, request)).payload == answer.payload

    async def test_an_unknown_model_has_no_tokens(self, engine: Engine, subject: Subject) -> None:
        del subject
        with pytest.raises(RequestError):
            await whole(engine, asking("/v1/detokenize", {"model": "nobody", "tokens": [1]}))
