"""Whatever stands where something else belongs is refused as the client's fault, on every path."""

from collections.abc import Iterator
from typing import Any

import pytest

from bombyx.chat.body import request_head
from bombyx.chat.forms import Shown
from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    DETOKENIZE_PATH,
    EMBEDDINGS_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    TOKENIZE_PATH,
)
from bombyx.chat.size import max_input_bound
from bombyx.chat.surface import admit, endpoint
from bombyx.errors import RequestError
from bombyx.money.cost import Tokens

PIXEL = "data:image/png;base64,AA"
SCHEMA = {"type": "object"}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (
        CHAT_PATH,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "x"},
            ],
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
            "stream_options": {"include_usage": True},
            "logit_bias": {"1": 1},
            "stop": ["x"],
        },
    ),
    (COMPLETIONS_PATH, {"prompt": ["a", [1, 2]], "echo": False, "n": 2, "stop": ["x"]}),
    (EMBEDDINGS_PATH, {"input": ["a", [1, 2]], "encoding_format": "base64", "dimensions": 2}),
    (TOKENIZE_PATH, {"prompt": "a", "add_special_tokens": True}),
    (DETOKENIZE_PATH, {"tokens": [1, 2]}),
    (
        RESPONSES_PATH,
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "a"},
                        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                    ],
                },
                {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "s"}],
                    "content": [{"type": "reasoning_text", "text": "t"}],
                },
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_text", "text": "x"}],
                },
            ],
            "include": ["message.output_text.logprobs"],
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
            "tools": [{"type": "function", **FUNCTION}],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
            "stream_options": {"include_obfuscation": False},
            "metadata": {"a": "b"},
        },
    ),
    (
        MESSAGES_PATH,
        {
            "max_tokens": 5,
            "system": [{"type": "text", "text": "s"}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AA"},
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "t", "signature": ""},
                        {"type": "text", "text": "b"},
                        {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "c",
                            "content": [{"type": "text", "text": "x"}],
                        }
                    ],
                },
            ],
            "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 9},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        },
    ),
]
ODD: list[Any] = [None, True, 0, -1, 1.5, 2**63 - 1, "", "odd", [], ["odd"], [[]], {}, {"odd": []}]


def altered(value: Any) -> Iterator[Any]:
    """The value with each part of it replaced by every odd one, or left out."""
    yield from ODD
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: kept for key, kept in value.items() if key != name}
            for odd in altered(part):
                yield {**value, name: odd}
    elif isinstance(value, list):
        for at, part in enumerate(value):
            for odd in altered(part):
                yield [*value[:at], odd, *value[at + 1 :]]


def test_every_body_is_admitted_as_it_is() -> None:
    for path, body in BODIES:
        assert admit(path, {"model": "m", **body})


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[path for path, _ in BODIES])
def test_an_odd_part_is_the_clients_fault_and_nobody_elses(path: str, body: dict[str, Any]) -> None:
    whole = {"model": "m", **body}
    for odd in altered(whole):
        if not isinstance(odd, dict):
            continue
        max_input_bound(odd, bytes_factor=1, overhead=64, max_image_tokens=1)
        try:
            head = request_head(path, odd)
            admitted = admit(path, odd)
        except RequestError:
            continue
        assert head.model == admitted["model"]
        assert endpoint(path).form(odd, Shown("ab", 0)).tail(Tokens())
