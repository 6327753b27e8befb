"""A Messages request becomes a chat, and its answer a Message."""

import json
from typing import Any

import pytest

from bombyx.chat.anthropic.answer import MessagesForm
from bombyx.chat.assemble import Assembler
from bombyx.chat.forms import Shown
from bombyx.chat.paths import MESSAGES_PATH
from bombyx.chat.refusing import refusal_document
from bombyx.chat.sse import SseDecoder
from bombyx.chat.surface import admit
from bombyx.errors import EngineFailed, Overloaded, RequestError, UnsupportedValue
from bombyx.money.cost import Tokens
from tests.bombyx.chat.responses.test_answer import (
    CALLED,
    CUT,
    NOTHING,
    REFUSED,
    SPOKEN,
    call,
    chunk,
    piece,
)

TOKENS = Tokens(prompt=9, cached=4, completion=5, reasoning=2)
USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}


def chat(**fields: Any) -> dict[str, Any]:
    body = {"model": "m", "max_tokens": 5, "messages": [user("hi")], **fields}
    return admit(MESSAGES_PATH, body)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("be kind", "be kind"),
        ([text("be"), text("kind")], "be\nkind"),
        ("", None),
        ([], None),
        (None, None),
    ],
)
def test_the_system_prompt_is_the_first_message(system: Any, told: str | None) -> None:
    first = chat(system=system)["messages"][0]
    assert first == ({"role": "system", "content": told} if told else user("hi"))


def test_fields_find_their_place_in_a_chat() -> None:
    schema = {"type": "object"}
    asked = chat(
        stop_sequences=["x"],
        temperature=0.5,
        top_k=4,
        top_p=0.5,
        stream=True,
        thinking={"type": "enabled", "budget_tokens": 1024},
        metadata={"user_id": "u"},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
    )
    assert {name: value for name, value in asked.items() if name != "messages"} == {
        "model": "m",
        "max_tokens": 5,
        "stop": ["x"],
        "temperature": 0.5,
        "top_k": 4,
        "top_p": 0.5,
        "stream": True,
        "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
    }
    off = chat(thinking={"type": "disabled"}, output_config={})
    assert off["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}


@pytest.mark.parametrize(
    ("choice", "given", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, "auto", None),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none", "disable_parallel_tool_use": False}, "none", True),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}, None),
    ],
)
def test_tools_and_their_choice(choice: Any, given: Any, parallel: bool | None) -> None:
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    asked = chat(tools=[tool, {"type": "custom", "name": "g"}], tool_choice=choice)
    assert asked["tools"][0]["function"] == {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object"},
    }
    assert asked.get("tool_choice") == given
    assert asked.get("parallel_tool_calls") == parallel


def test_blocks_find_their_place_in_messages() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    redacted = {"type": "redacted_thinking", "data": "x"}
    result = {"type": "tool_result", "tool_use_id": "c1"}
    asked = chat(
        messages=[
            user([text("look"), PICTURE]),
            said(thought, redacted, text("I "), text("call"), USE),
            user([text("so?"), {**result, "content": [text("sunny"), PICTURE]}]),
            said(USE),
            user([{**result, "content": "dry", "is_error": False}]),
            user([result]),
        ]
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    function = {"name": "f", "arguments": '{"a":1}'}
    calls = [{"id": "c1", "type": "function", "function": function}]
    answered = {"role": "tool", "tool_call_id": "c1"}
    assert asked["messages"] == [
        user([{"type": "text", "text": "look"}, image]),
        {
            "role": "assistant",
            "reasoning_content": "hm",
            "content": "I call",
            "tool_calls": calls,
        },
        {**answered, "content": [{"type": "text", "text": "sunny"}, image]},
        user([{"type": "text", "text": "so?"}]),
        {"role": "assistant", "content": "", "tool_calls": calls},
        {**answered, "content": "dry"},
        {**answered, "content": ""},
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c"}, "container"),
        ({"context_management": {}}, "context_management"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools"),
        ({"messages": [user([{"type": "document"}])]}, "messages"),
        ({"messages": [said({"type": "server_tool_use"})]}, "messages"),
        (
            {
                "messages": [
                    user([{"type": "image", "source": {"type": "url", "url": "https://x"}}])
                ]
            },
            "messages",
        ),
    ],
)
def test_what_is_not_run_here_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedValue) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [user(5)]}, "messages"),
        ({"messages": [user(["hi"])]}, "messages"),
        ({"messages": [user([])]}, "messages"),
        ({"messages": [user([text(5)])]}, "messages"),
        ({"messages": [{"role": "queen", "content": "x"}]}, "messages"),
        ({"messages": [said(text(5))]}, "messages"),
        ({"messages": [said({**USE, "input": "x"})]}, "messages"),
        ({"messages": [said({**USE, "name": None})]}, "messages"),
        ({"messages": [user([{"type": "tool_result"}])]}, "messages"),
        ({"messages": [user([{"type": "tool_result", "content": ["x"]}])]}, "messages"),
        ({"messages": [user([{"type": "image"}])]}, "messages"),
        ({"messages": [user([{"type": "image", "source": {"type": "base64"}}])]}, "messages"),
        ({"system": 5}, "system"),
        ({"system": ["x"]}, "system"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop_sequences": 5}, "stop_sequences"),
        ({"thinking": True}, "thinking"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config"),
        ({"output_config": {"effort": "huge"}}, "output_config"),
        ({"output_config": {"speed": "fast"}}, "output_config"),
        ({"tools": {"name": "f"}}, "tools"),
        ({"tools": ["f"]}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": []}}, "tool_choice"),
    ],
)
def test_errors_name_the_field_that_the_client_wrote(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    assert caught.value.param == param


def form() -> MessagesForm:
    return MessagesForm({"model": "m"}, Shown("ab" * 16, 0))


def streamed(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    made = form()
    data = b"".join(made.chunk(one, Tokens(prompt=9)) for one in chunks) + made.tail(TOKENS)
    events = SseDecoder().feed(data)
    told = [json.loads(event.data) for event in events]
    assert [event.event for event in events] == [one["type"] for one in told]
    return told


def whole(*chunks: dict[str, Any]) -> dict[str, Any]:
    assembler = Assembler()
    for one in chunks:
        assembler.add(one)
    answer: dict[str, Any] = json.loads(form().whole(assembler.answer(TOKENS), TOKENS))
    return answer


def gathered(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks as an SDK puts them together."""
    blocks: list[dict[str, Any]] = []
    arguments: dict[int, str] = {}
    for event in told:
        index = event.get("index", 0)
        if event["type"] == "content_block_start":
            assert index == len(blocks)
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            for name, value in event["delta"].items():
                if name == "partial_json":
                    arguments[index] = arguments.get(index, "") + value
                elif name != "type":
                    blocks[index][name] += value
    for index, value in arguments.items():
        blocks[index]["input"] = json.loads(value)
    return blocks


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        (SPOKEN, "end_turn"),
        (CALLED, "tool_use"),
        (CUT, "max_tokens"),
        (REFUSED, "refusal"),
        (NOTHING, "end_turn"),
    ],
)
def test_a_stream_says_what_a_whole_answer_says(chunks: Any, reason: str) -> None:
    told, answer = streamed(*chunks), whole(*chunks)
    assert gathered(told) == answer["content"]
    assert answer["stop_reason"] == told[-2]["delta"]["stop_reason"] == reason
    assert told[-2]["usage"] == answer["usage"]
    assert [one["type"] for one in told[-2:]] == ["message_delta", "message_stop"]
    assert told[0]["message"]["usage"]["input_tokens"] == 9
    starts = [one["index"] for one in told if one["type"] == "content_block_start"]
    stops = [one["index"] for one in told if one["type"] == "content_block_stop"]
    assert sorted(stops) == starts


def test_cached_tokens_are_not_input_tokens() -> None:
    usage = whole(*SPOKEN)["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (5, 4)
    assert usage["output_tokens_details"] == {"thinking_tokens": 2}


@pytest.mark.parametrize("arguments", ["{", "[1]", "[" * 100_000])
def test_arguments_that_are_no_object_are_shown_as_they_are(arguments: str) -> None:
    (block,) = whole(chunk(tool_calls=[call(0), piece(0, arguments)]), chunk("tool_calls"))[
        "content"
    ]
    assert block["input"] == {"arguments": arguments}


def test_a_stream_without_a_chunk_is_whole_all_the_same() -> None:
    assert [one["type"] for one in streamed()] == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestError("x"), "invalid_request_error"),
        (Overloaded("x"), "overloaded_error"),
        (EngineFailed("x"), "api_error"),
    ],
)
def test_an_error_is_anthropics(error: Any, kind: str) -> None:
    told = json.loads(form().error(error))
    assert told == refusal_document(MESSAGES_PATH, error, request_id=told["request_id"])
    assert (told["type"], told["error"]["type"], told["error"]["code"]) == (
        "error",
        kind,
        error.code,
    )


def test_a_text_has_a_list_of_citations() -> None:
    """Null, which Anthropic's schema allows, is refused by the AI SDK's reader."""
    (block,) = [one for one in whole(*SPOKEN)["content"] if one["type"] == "text"]
    assert block["citations"] == []
    starts = [one for one in streamed(*SPOKEN) if one["type"] == "content_block_start"]
    assert starts[-1]["content_block"]["citations"] == []
