"""How answers look on the wire; the forms of Responses and Messages have tests of their own."""

import json
import struct
from base64 import b64decode
from typing import Any

import pytest

from bombyx.chat.breaking import break_event
from bombyx.chat.completions import CompletionForm, TextAssembler, legacy_logprobs
from bombyx.chat.embeddings import EmbeddingsForm, embeddings_answer, embeddings_of
from bombyx.chat.forms import OpenAIForm, WholeForm, include_usage
from bombyx.chat.paths import CHAT_PATH, MESSAGES_PATH, RESPONSES_PATH
from bombyx.chat.sse import DONE, SseDecoder, encode_event
from bombyx.chat.tokenizing import text_answer, tokens_answer
from bombyx.errors import (
    BombyxError,
    Draining,
    EngineFailed,
    EngineTimeout,
    Overloaded,
    RequestError,
    envelope,
)
from bombyx.money.cost import Tokens

TOKENS = Tokens(prompt=3, completion=2)
CHUNK = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}]}


def events(data: bytes) -> list[Any]:
    return [json.loads(event.data) for event in SseDecoder().feed(data) if event.data != b"[DONE]"]


def test_a_chat_chunk_passes_as_it_is() -> None:
    form = OpenAIForm()
    assert form.chunk(CHUNK, TOKENS) == encode_event(
        b'{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}'
    )
    assert form.tail(TOKENS) == DONE


def test_usage_comes_last_where_it_was_asked_for_and_is_null_before() -> None:
    form = OpenAIForm(include_usage=include_usage({"stream_options": {"include_usage": True}}))
    (chunk,) = events(form.chunk(CHUNK, TOKENS))
    assert chunk == {**CHUNK, "usage": None}
    tail = form.tail(TOKENS)
    assert tail.endswith(DONE)
    (last,) = events(tail)
    assert (last["id"], last["choices"], last["usage"]["total_tokens"]) == ("c", [], 5)
    assert not include_usage({"stream_options": None})


def test_whole_answers_and_errors() -> None:
    assert json.loads(OpenAIForm().whole({"id": "c"}, TOKENS))["usage"]["prompt_tokens"] == 3
    assert json.loads(WholeForm().whole({"tokens": []}, TOKENS)) == {"tokens": []}
    error = Overloaded("full")
    assert json.loads(OpenAIForm().error(error)) == envelope(error)


def choice(index: int, text: str, reason: str | None = None, logprobs: Any = None) -> Any:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def test_an_echoed_prompt_begins_each_of_its_choices_once() -> None:
    form = CompletionForm({"prompt": ["p", "q"], "n": 2, "echo": True})
    (first,) = events(form.chunk({"choices": [choice(0, "a"), choice(2, "b")]}, TOKENS))
    assert [one["text"] for one in first["choices"]] == ["pa", "qb"]
    (again,) = events(form.chunk({"choices": [choice(0, "c")]}, TOKENS))
    assert again["choices"][0]["text"] == "c"
    whole = json.loads(form.whole({"choices": [choice(1, "d"), choice(2, "e")]}, TOKENS))
    assert [one["text"] for one in whole["choices"]] == ["pd", "e"]


def test_without_echo_a_completion_is_as_it_came() -> None:
    form = CompletionForm({"prompt": "p"})
    assert events(form.chunk({"choices": [choice(0, "a")]}, TOKENS))[0]["choices"][0]["text"] == "a"


def test_a_completion_is_put_together_from_its_chunks() -> None:
    assembler = TextAssembler()
    scored = legacy_logprobs([{"token": "ab", "logprob": -1.0, "top_logprobs": None}], 4)
    assert scored["text_offset"] == [4]
    assembler.add({"id": "c", "choices": [choice(1, "x", "stop"), choice(0, "a", None, scored)]})
    assembler.add({"id": "c", "choices": [choice(0, "b", "length", scored)]})
    assembler.add({"id": "c", "choices": [choice(0, "", None)]})
    answer = assembler.answer(TOKENS)
    assert [one["text"] for one in answer["choices"]] == ["ab", "x"]
    assert answer["choices"][0]["logprobs"]["tokens"] == ["ab", "ab"]
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("chunks", [[], [{"choices": [choice(0, "a")]}]])
def test_a_completion_that_did_not_finish_is_none(chunks: list[Any]) -> None:
    assembler = TextAssembler()
    for chunk in chunks:
        assembler.add(chunk)
    with pytest.raises(EngineFailed):
        assembler.answer(TOKENS)


@pytest.mark.parametrize("content", [[1], [{}], 5])
def test_odd_log_probabilities_are_the_engines_failure(content: Any) -> None:
    with pytest.raises(EngineFailed):
        legacy_logprobs(content, 0)


def test_embeddings_come_in_the_order_of_their_texts() -> None:
    told = {"data": [{"index": 1, "embedding": [2, 0.5]}, {"index": 0, "embedding": [1.0]}]}
    assert embeddings_of(told, 2) == [[1.0], [2.0, 0.5]]


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"data": None},
        {"data": [{"index": 1, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        {"data": [{"index": 0, "embedding": [1e300]}]},
        {"data": [{"index": 0}]},
        {"data": [5]},
    ],
)
def test_odd_embeddings_are_the_engines_failure(told: Any) -> None:
    with pytest.raises(EngineFailed):
        embeddings_of(told, 1)


def test_embeddings_bill_prompt_tokens_and_come_packed_where_asked() -> None:
    answer = embeddings_answer([[0.5, -1.0]], "m")
    plain = json.loads(EmbeddingsForm({}).whole(answer, Tokens(prompt=4)))
    assert plain["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert plain["data"][0] == {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}
    packed = json.loads(EmbeddingsForm({"encoding_format": "base64"}).whole(answer, TOKENS))
    assert struct.unpack("<2f", b64decode(packed["data"][0]["embedding"])) == (0.5, -1.0)


def test_a_tokenizers_answers_are_checked() -> None:
    assert tokens_answer([1, 2], 9) == {"tokens": [1, 2], "count": 2, "max_model_len": 9}
    assert text_answer("x") == {"text": "x", "prompt": "x"}
    for bad in (None, ["a"], "ab"):
        with pytest.raises(EngineFailed):
            tokens_answer(bad, 9)
    with pytest.raises(EngineFailed):
        text_answer(None)


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        (CHAT_PATH, None, "upstream_error"),
        (RESPONSES_PATH, "error", "upstream_error"),
        (MESSAGES_PATH, "error", "api_error"),
    ],
)
def test_a_broken_stream_ends_in_an_error_of_its_path(
    path: str, name: str | None, kind: str
) -> None:
    error = {"message": "broke", "type": "upstream_error", "code": "truncated", "param": None}
    (event,) = SseDecoder().feed(break_event(path, error))
    told = json.loads(event.data)
    assert event.event == name
    assert told["error"] == {**error, "type": kind}
    assert ("type" in told) == (name is not None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestError("x"), "invalid_request_error"),
        (Draining("x"), "overloaded_error"),
        (EngineTimeout("x"), "timeout_error"),
        (BombyxError("x"), "api_error"),
    ],
)
def test_an_error_in_a_stream_of_messages_has_anthropics_type(
    error: BombyxError, kind: str
) -> None:
    (event,) = SseDecoder().feed(break_event(MESSAGES_PATH, envelope(error)["error"]))
    told = json.loads(event.data)
    assert (told["type"], told["error"]["type"], told["error"]["code"]) == (
        "error",
        kind,
        error.code,
    )
