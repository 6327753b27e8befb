"""A Responses request becomes a chat; what refers to something kept is refused."""

from typing import Any

import pytest

from bombyx.chat.paths import RESPONSES_PATH
from bombyx.chat.surface import admit
from bombyx.errors import RequestError, UnsupportedValue

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
OTHER = {"type": "function", "name": "g", "description": None}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_1"}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}


def chat(**fields: Any) -> dict[str, Any]:
    return admit(RESPONSES_PATH, {"model": "m", "input": "hi", **fields})


def messages(*items: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat(input=list(items))["messages"]
    return found


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **more}


def test_a_string_is_the_users_and_instructions_come_first() -> None:
    assert chat(instructions="be kind")["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
    ]
    assert chat(instructions="")["messages"] == [{"role": "user", "content": "hi"}]


def test_fields_find_their_place_in_a_chat() -> None:
    asked = chat(
        max_output_tokens=5,
        temperature=0.5,
        top_p=0.5,
        stream=True,
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        metadata={"a": "b"},
        store=True,
        truncation="disabled",
        background=False,
        stream_options={"include_obfuscation": False},
    )
    assert {name: value for name, value in asked.items() if name != "messages"} == {
        "model": "m",
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.5,
        "stream": True,
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert "logprobs" not in chat(include=["reasoning.encrypted_content"], top_logprobs=2)
    assert "reasoning_effort" not in chat(reasoning={"effort": None})


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ({"format": {"type": "text"}}, {"type": "text"}),
        ({"format": {"type": "json_object"}, "verbosity": "low"}, {"type": "json_object"}),
        (
            {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": None}},
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        ),
        ({"verbosity": "low"}, None),
    ],
)
def test_the_format_of_text_is_a_response_format(wanted: Any, given: Any) -> None:
    assert chat(text=wanted).get("response_format") == given


@pytest.mark.parametrize(
    ("choice", "names", "given"),
    [
        (None, ["f", "g"], None),
        ("required", ["f", "g"], "required"),
        (
            {"type": "function", "name": "g"},
            ["f", "g"],
            {"type": "function", "function": {"name": "g"}},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"name": "g"}]},
            ["g"],
            "required",
        ),
        ({"type": "allowed_tools", "tools": "none"}, [], "auto"),
    ],
)
def test_tools_and_their_choice(choice: Any, names: list[str], given: Any) -> None:
    asked = chat(tools=[FUNCTION, OTHER], tool_choice=choice)
    assert [tool["function"]["name"] for tool in asked.get("tools", [])] == names
    assert asked.get("tool_choice") == given


def test_a_functions_fields_are_kept() -> None:
    (tool,) = chat(tools=[FUNCTION])["tools"]
    assert tool == {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
    }


def test_items_of_one_turn_are_one_message() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"text": "hm"}, {"text": "so"}]}
    assert messages(
        message("developer", "d"),
        {"role": "user", "content": [{"type": "input_text", "text": "look"}, PICTURE]},
        thought,
        message("assistant", [{"type": "output_text", "text": "I call"}], phase="commentary"),
        CALL,
        {**CALL, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "dry"}],
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}]},
        CALL,
        {"type": "reasoning", "summary": [], "content": None},
        message("assistant", [{"type": "refusal", "refusal": "no"}]),
    ) == [
        {"role": "developer", "content": "d"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AA", "detail": "low"},
                },
            ],
        },
        {
            "role": "assistant",
            "reasoning_content": "hm\nso",
            "content": [{"type": "text", "text": "I call"}],
            "tool_calls": [called("c1"), called("c2")],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "dry"}]},
        {
            "role": "assistant",
            "reasoning_content": "short",
            "content": "",
            "tool_calls": [called("c1")],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "no"}]},
    ]


def called(call: str) -> dict[str, Any]:
    return {"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_a_call_without_words_before_it_has_a_message_of_its_own() -> None:
    assert messages(message("user", "hi"), CALL)[1]["tool_calls"] == [called("c1")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"input": [{"type": "item_reference", "id": "i"}]}, "input"),
        ({"input": [message("user", [{"type": "input_file", "file_id": "f"}])]}, "input"),
        ({"input": [message("user", [{"type": "input_image", "file_id": "f"}])]}, "input"),
        ({"input": [message("user", ["text"])]}, "input"),
        (
            {"input": [message("user", [{"type": "input_image", "image_url": "https://x/"}])]},
            "input",
        ),
    ],
)
def test_what_is_not_kept_or_not_run_here_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedValue) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["hi"]}, "input"),
        ({"input": [message("user", None)]}, "input"),
        ({"input": [message("queen", "x")]}, "input"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input"),
        ({"input": [{**CALL, "arguments": {}}]}, "input"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input"),
        ({"text": {"format": "json"}}, "text"),
        ({"text": {"format": {"type": "xml"}}}, "text"),
        ({"text": []}, "text"),
        ({"reasoning": {"effort": "huge"}}, "reasoning"),
        ({"include": "x"}, "include"),
        ({"tools": "f"}, "tools"),
        ({"tools": ["f"]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"instructions": ["x"]}, "instructions"),
    ],
)
def test_errors_name_the_field_that_the_client_wrote(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    assert caught.value.param == param
