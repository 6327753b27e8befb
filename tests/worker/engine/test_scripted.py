import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bombyx.errors import EngineFailed, EngineTimeout
from bombyx.money.cost import Tokens
from tests.worker.engine.contract import EngineContract, Subject, collect, request_of
from tests.worker.engine.text_contract import TextContract
from worker.engine.port import Answer, Engine, EngineRequest
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.engine.scripted.instance import instance
from worker.engine.scripted.values import Values

SUBJECT = Subject(
    model="scripted",
    short="say: one two three four",
    long="count: 1500\npace: 2",
    stop=" three",
    prompt_tokens=7,
    embeds=True,
)
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
}
TOOLS = [
    {"type": "function", "function": {"name": "add", "parameters": {}}},
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
]


@pytest.fixture
def subject() -> Subject:
    return SUBJECT


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[Engine]:
    made = ScriptedEngine(Scripted(idle_seconds=0.05))
    await made.start()
    yield made
    await made.close()


class TestScripted(EngineContract, TextContract):
    pass


async def answer_to(engine: Engine, prompt: str, **fields: Any) -> dict[str, Any]:
    event = (await collect(engine, request_of(SUBJECT, prompt, **fields)))[-1]
    assert isinstance(event, Answer)
    choice: dict[str, Any] = event.payload["choices"][0]
    return choice


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("say: hello there", "hello there"),
        ("count: 4", "1 2 3 4"),
        ("count: many", ""),
        ("echo\nrepeat this\n", "repeat this"),
        ("say:", ""),
    ],
)
async def test_a_command_decides_the_answer(engine: Engine, prompt: str, answer: str) -> None:
    assert (await answer_to(engine, prompt))["message"]["content"] == answer


async def test_without_a_command_it_answers_one_sentence(engine: Engine) -> None:
    assert "scripted engine" in (await answer_to(engine, "hello?"))["message"]["content"]


async def test_reasoning_is_counted_within_the_completion(engine: Engine) -> None:
    events = await collect(engine, request_of(SUBJECT, "think: 5\nsay: done"))
    assert events[-1].tokens == Tokens(prompt=6, completion=6, reasoning=5)
    assert isinstance(events[-1], Answer)
    message = events[-1].payload["choices"][0]["message"]
    assert message["reasoning_content"] == " 1 2 3 4 5"


@pytest.mark.parametrize(
    ("prompt", "choice", "name", "arguments"),
    [
        (
            "What's the weather in Paris for 3 days in Fahrenheit?",
            "auto",
            "get_weather",
            {"city": "Paris", "days": 3, "unit": "fahrenheit"},
        ),
        (
            'use city="Aix" and days=7',
            "required",
            "add",
            {},
        ),
        (
            "days: 0 city is Rome",
            {"type": "function", "function": {"name": "get_weather"}},
            "get_weather",
            {"city": "Rome", "days": 1, "unit": "celsius"},
        ),
    ],
)
async def test_tools_are_called_with_the_values_of_the_prompt(
    engine: Engine, prompt: str, choice: Any, name: str, arguments: dict[str, Any]
) -> None:
    answer = await answer_to(engine, prompt, tools=TOOLS, tool_choice=choice)
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["function"]["name"] == name
    assert json.loads(call["function"]["arguments"]) == arguments
    assert answer["message"]["content"] is None


@pytest.mark.parametrize(
    ("prompt", "choice"), [("What's the weather?", "none"), ("hello", "auto"), ("say: x", "auto")]
)
async def test_no_tool_is_called_unasked(engine: Engine, prompt: str, choice: str) -> None:
    answer = await answer_to(engine, prompt, tools=TOOLS, tool_choice=choice)
    assert "tool_calls" not in answer["message"]


async def test_a_tools_result_is_told(engine: Engine) -> None:
    request = request_of(SUBJECT, "weather?", tools=TOOLS)
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    request.body["messages"] += [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    event = (await collect(engine, request))[-1]
    assert isinstance(event, Answer)
    assert event.payload["choices"][0]["message"]["content"] == "The tool says: sunny"


async def test_json_mode_gives_an_object(engine: Engine) -> None:
    wanted = {"type": "json_object"}
    plain = await answer_to(engine, "say: hi", response_format=wanted)
    assert json.loads(plain["message"]["content"]) == {"answer": "hi"}
    given = await answer_to(engine, 'say: {"a": 1}', response_format=wanted)
    assert json.loads(given["message"]["content"]) == {"a": 1}


@pytest.mark.parametrize(
    ("fault", "error", "events"),
    [
        ("crash", EngineFailed, 4),
        ("cut", EngineFailed, 4),
        ("hang", EngineTimeout, 4),
        ("error", EngineFailed, 0),
        ("crash 0", EngineFailed, 1),
        ("hang 99", EngineTimeout, 5),
    ],
)
async def test_faults_break_the_stream_where_they_are_told_to(
    engine: Engine, fault: str, error: type[Exception], events: int
) -> None:
    seen = []
    prompt = f"say: a b c d\nfault: {fault}"
    with pytest.raises(error):  # noqa: PT012 (what came before the error counts)
        async for event in engine.run(request_of(SUBJECT, prompt, stream=True)):
            seen.append(event)  # noqa: PERF401
    assert len(seen) == events


async def test_a_lying_engine_counts_too_much(engine: Engine) -> None:
    events = await collect(engine, request_of(SUBJECT, "say: a b\nfault: lie_tokens"))
    assert events[-1].tokens.completion == 2000


async def test_prefixes_are_cached_within_a_salt_only(engine: Engine) -> None:
    async def cached(salt: str) -> int:
        made = request_of(SUBJECT, "say: a b c d e f", stream=True)
        events = await collect(engine, EngineRequest(made.path, made.body, "r", salt))
        return events[-1].tokens.cached

    assert [await cached(salt) for salt in ("aa", "aa", "bb", "aa")] == [0, 8, 0, 8]


def test_an_instance_fits_its_schema() -> None:
    schema = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3},
            "when": {"type": "string", "format": "date"},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "number", "exclusiveMinimum": 2}]},
            "list": {"type": "array", "items": {"type": ["null", "boolean"]}, "minItems": 2},
            "fixed": {"const": 5},
            "both": {"allOf": [{"type": "integer"}, {"maximum": -4}]},
            "node": {"$ref": "#/$defs/node"},
            "odd": {"type": "nonsense"},
        },
        "required": ["name", "when", "maybe", "list", "fixed", "both", "odd", "node"],
    }
    made = instance(schema, Values('call it "Al"; list is false'))
    node = made.pop("node")
    assert made == {
        "name": "Alx",
        "when": "2026-01-01",
        "maybe": 3.0,
        "list": [False, False],
        "fixed": 5,
        "both": -4,
        "odd": None,
    }
    assert set(node) == {"next"}
