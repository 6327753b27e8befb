from typing import Any

import pytest

from bombyx.chat.assemble import Assembler
from bombyx.errors import EngineFailed
from bombyx.money.cost import Tokens


def chunk(index: int, delta: Any = None, *, reason: str | None = None, **more: Any) -> Any:
    choice = {"index": index, "delta": delta, "finish_reason": reason, **more}
    return {"id": "chatcmpl-1", "created": 5, "model": "m", "choices": [choice]}


def assembled(*chunks: Any) -> dict[str, Any]:
    made = Assembler()
    for one in chunks:
        made.add(one)
    return made.answer(Tokens(prompt=3, completion=2))


def test_text_is_joined_and_the_answer_is_whole() -> None:
    answer = assembled(
        chunk(0, {"role": "assistant", "content": ""}),
        chunk(0, {"content": "Hel"}),
        chunk(0, {"content": "lo"}),
        chunk(0, {}, reason="stop"),
        {"choices": []},
    )
    assert answer.pop("usage")["total_tokens"] == 5
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "annotations": [],
    }
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }


def test_choices_are_kept_apart_and_put_in_order() -> None:
    answer = assembled(
        chunk(1, {"content": "b"}, reason="length"), chunk(0, {"content": "a"}, reason="stop")
    )
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "b"]
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["stop", "length"]


def test_tool_calls_are_joined_by_their_index() -> None:
    first = {"index": 0, "id": "c0", "type": "function", "function": {"name": "f"}}
    second = {"index": 1, "id": "c1", "function": {"name": "g", "arguments": "{"}}
    answer = assembled(
        chunk(0, {"tool_calls": [second]}),
        chunk(0, {"tool_calls": [first, {"index": 1, "function": {"arguments": "}"}}]}),
        chunk(0, {"tool_calls": [{"index": 0, "id": "new", "function": {"arguments": "1"}}]}),
        chunk(0, {"tool_calls": [{"index": 0}]}, reason="tool_calls"),
    )
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "f", "arguments": "1"}},
        {"id": "c1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_refusals_reasoning_and_logprobs_are_joined() -> None:
    answer = assembled(
        chunk(0, {"reasoning_content": "hm"}),
        chunk(0, {"refusal": "n"}, logprobs={"content": None, "refusal": [1]}),
        chunk(0, {"refusal": "o"}, logprobs={"content": None, "refusal": [2]}, reason="stop"),
    )
    message = answer["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "no")
    assert message["reasoning_content"] == "hm"
    assert answer["choices"][0]["logprobs"] == {"content": None, "refusal": [1, 2]}


@pytest.mark.parametrize(
    "chunks", [[], [chunk(0, {"content": "a"})], [chunk(0, None, reason="stop"), chunk(1, {})]]
)
def test_an_unfinished_answer_is_a_failure(chunks: list[Any]) -> None:
    with pytest.raises(EngineFailed):
        assembled(*chunks)
