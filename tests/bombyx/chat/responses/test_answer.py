"""A chat's answer as a Response: the object, and its events in order."""

import json
from typing import Any

import pytest

from bombyx.chat.assemble import Assembler
from bombyx.chat.forms import Shown
from bombyx.chat.responses.answer import ResponsesForm
from bombyx.chat.sse import SseDecoder
from bombyx.errors import Overloaded, envelope
from bombyx.money.cost import Tokens

TOKENS = Tokens(prompt=9, cached=4, completion=5, reasoning=2)
ASKED: dict[str, Any] = {
    "model": "m",
    "input": "hi",
    "instructions": "be kind",
    "temperature": None,
    "tools": [{"type": "function", "name": "f", "parameters": {}}],
    "metadata": {"a": "b"},
    "store": True,
    "text": {"verbosity": "low"},
}


def form(**fields: Any) -> ResponsesForm:
    return ResponsesForm({**ASKED, **fields}, Shown("ab" * 16, 1_700_000_000))


def chunk(reason: str | None = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    one = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
    return {"choices": [one]}


def piece(index: int, text: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": text, **({"name": more.pop("name")} if "name" in more else {})}
    return {"index": index, **more, "function": function}


def call(index: int) -> dict[str, Any]:
    return piece(index, "", id=f"c{index}", type="function", name="f")


def streamed(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    made = form()
    data = b"".join(made.chunk(one, TOKENS) for one in chunks) + made.tail(TOKENS)
    events = SseDecoder().feed(data)
    told = [json.loads(event.data) for event in events]
    assert [event.event for event in events] == [one["type"] for one in told]
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    return told


def whole(*chunks: dict[str, Any]) -> dict[str, Any]:
    assembler = Assembler()
    for one in chunks:
        assembler.add(one)
    answer: dict[str, Any] = json.loads(form().whole(assembler.answer(TOKENS), TOKENS))
    return answer


SPOKEN = (
    chunk(role="assistant", content=""),
    chunk(reasoning_content="h"),
    chunk(reasoning_content="m"),
    chunk(content="Hel", logprobs={"content": [{"token": "Hel"}]}),
    chunk(content="lo", logprobs={"content": [{"token": "lo"}]}),
    chunk("stop"),
)
CALLED = (
    chunk(content="I call"),
    chunk(tool_calls=[call(0)]),
    chunk(tool_calls=[piece(0, '{"a"')]),
    chunk(tool_calls=[call(1), piece(0, ":1}")]),
    chunk(tool_calls=[piece(1, "{}")]),
    chunk("tool_calls"),
)
REFUSED = (chunk(refusal="no"), chunk("content_filter"))
NOTHING = (chunk("stop"),)
CUT = (chunk(content="Hel"), chunk("length"))
ONLY_CALLED = (chunk(tool_calls=[call(0)]), chunk("tool_calls"))
ALL = pytest.mark.parametrize("chunks", [SPOKEN, CALLED, ONLY_CALLED, REFUSED, NOTHING, CUT])


@ALL
def test_a_stream_ends_with_what_a_whole_answer_is(chunks: tuple[dict[str, Any], ...]) -> None:
    last = streamed(*chunks)[-1]
    answer = whole(*chunks)
    assert last["response"] == answer
    assert last["type"] == f"response.{answer['status']}"


@ALL
def test_every_item_that_opens_closes_as_it_is_in_the_end(
    chunks: tuple[dict[str, Any], ...],
) -> None:
    told = streamed(*chunks)
    done = {
        one["output_index"]: one["item"]
        for one in told
        if one["type"] == "response.output_item.done"
    }
    assert [done[index] for index in range(len(done))] == told[-1]["response"]["output"]
    opened = [one["item"]["id"] for one in told if one["type"] == "response.output_item.added"]
    assert opened == [item["id"] for item in done.values()]


def test_events_come_in_the_order_that_sdks_know() -> None:
    kinds = [one["type"].removeprefix("response.") for one in streamed(*SPOKEN)]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_words_carry_their_log_probabilities() -> None:
    part = whole(*SPOKEN)["output"][1]["content"][0]
    assert part["text"] == "Hello"
    assert [one["token"] for one in part["logprobs"]] == ["Hel", "lo"]


def test_calls_whose_pieces_are_mixed_are_told_apart() -> None:
    items = whole(*CALLED)["output"]
    assert [(item["call_id"], item["arguments"]) for item in items[1:]] == [
        ("c0", '{"a":1}'),
        ("c1", "{}"),
    ]


@pytest.mark.parametrize(
    ("chunks", "status", "reason"),
    [
        (SPOKEN, "completed", None),
        (CUT, "incomplete", {"reason": "max_output_tokens"}),
        (REFUSED, "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_status_says_why_it_ended(chunks: Any, status: str, reason: Any) -> None:
    answer = whole(*chunks)
    assert (answer["status"], answer["incomplete_details"]) == (status, reason)
    assert answer["output"][-1]["status"] == status
    assert (answer["completed_at"] is None) == (reason is not None)


def test_an_answer_repeats_its_request_and_stores_nothing() -> None:
    answer = whole(*SPOKEN)
    assert answer["id"] == "resp_" + "ab" * 16
    assert answer["store"] is False
    assert answer["previous_response_id"] is None
    assert answer["metadata"] == {"a": "b"}
    assert answer["temperature"] == 1.0
    assert answer["instructions"] == "be kind"
    assert answer["tools"] == [{"strict": None, "type": "function", "name": "f", "parameters": {}}]
    assert answer["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert answer["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 14,
    }


def test_a_stream_without_a_chunk_is_whole_all_the_same() -> None:
    assert [one["type"] for one in streamed()][:2] == ["response.created", "response.in_progress"]


def test_an_error_is_openais() -> None:
    assert json.loads(form().error(Overloaded("full"))) == envelope(Overloaded("full"))
