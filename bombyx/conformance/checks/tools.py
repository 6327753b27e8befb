"""Checks of tool calls: whole, streamed, in parallel, and with their results."""

import json
from typing import Any

from bombyx.conformance.chat import CHAT, ask_streamed, asking, first_message, put_together, text_of
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, Wrong, at, expect, is_equal, maybe, shown

AREA = "tools"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": what, "parameters": CITY}}
    for name, what in (
        ("get_weather", "The weather of a city."),
        ("get_time", "The time in a city."),
    )
]
ONE = 'Use the tool get_weather with city="Paris".'
BOTH = 'Call get_weather and get_time, both at once, with city="Paris".'


@check(AREA, "guides/function-calling")
async def a_tool_is_called(server: Server) -> str:
    """Under `required` the answer is a call: an id, a name, and arguments as a text of JSON."""
    document = (await _ask(server, ONE, tool_choice="required")).if_served("tools")
    is_equal(document, "choices", 0, "finish_reason", to="tool_calls")
    (call, *_) = _calls(document)
    return f"{call['name']}({call['arguments']})"


@check(AREA, "api-reference/chat/create#tool_choice")
async def a_named_tool_is_called(server: Server) -> str:
    """A tool that the request names is the one that is called."""
    choice = {"type": "function", "function": {"name": "get_time"}}
    document = (await _ask(server, ONE, tool_choice=choice)).if_served("a named tool")
    names = {call["name"] for call in _calls(document)}
    expect(names == {"get_time"}, f"{shown(names)} was called instead of get_time")
    return "get_time"


@check(AREA, "api-reference/chat/create#tool_choice")
async def no_tool_is_called_against_the_word(server: Server) -> str:
    """Under `none` the answer is words."""
    document = (await _ask(server, ONE, tool_choice="none")).if_served("tool_choice none")
    expect(not maybe(first_message(document), "tool_calls"), "a tool was called")
    expect(text_of(document) != "", "the answer is empty")
    return "words"


@check(AREA, "guides/function-calling#streaming")
async def a_call_is_streamed(server: Server) -> str:
    """Streamed pieces have an index; id and name come once, the pieces of arguments make JSON."""
    body = asking(ONE, tools=TOOLS, tool_choice="required")
    (await server.post(CHAT, body)).if_served("tools")
    _, chunks = await ask_streamed(server, body)
    told = put_together(chunks)[0]
    expect(told.finish_reasons == ["tool_calls"], f"the finish reasons are {told.finish_reasons}")
    expect(sorted(told.calls) == list(range(len(told.calls))), f"calls {sorted(told.calls)}")
    expect(bool(told.calls), "no call was streamed")
    for call in told.calls.values():
        _arguments(call["arguments"])
    return told.calls[0]["arguments"]


@check(AREA, "guides/function-calling#parallel-function-calling")
async def calls_come_in_parallel(server: Server) -> str:
    """Several calls of one answer have ids of their own."""
    document = (await _ask(server, BOTH)).if_served("tools")
    calls = _calls(document, least=0)
    if len(calls) < 2:  # noqa: PLR2004 - one call is not parallel
        raise Lacks("the model made no two calls at once")
    ids = {call["id"] for call in calls}
    expect(len(ids) == len(calls), "two calls have the same id")
    return ", ".join(call["name"] for call in calls)


@check(AREA, "guides/function-calling#parallel-function-calling")
async def parallel_calls_are_streamed_apart(server: Server) -> str:
    """Several streamed calls have an index and an id each."""
    body = asking(BOTH, tools=TOOLS)
    (await server.post(CHAT, body)).if_served("tools")
    _, chunks = await ask_streamed(server, body)
    calls = put_together(chunks)[0].calls
    if not calls:
        raise Lacks("the model made no two calls at once")
    for call in calls.values():
        _arguments(call["arguments"])
    if len(calls) == 1:
        raise Lacks("the model made no two calls at once")
    expect(len({call["id"] for call in calls.values()}) == len(calls), "two calls have the same id")
    return f"{len(calls)} calls"


@check(AREA, "api-reference/chat/create#parallel_tool_calls")
async def one_call_at_a_time_if_asked(server: Server) -> str:
    """With `parallel_tool_calls` false there is at most one call."""
    answer = await _ask(server, BOTH, parallel_tool_calls=False)
    calls = _calls(answer.if_served("parallel_tool_calls"), least=0)
    expect(len(calls) <= 1, f"{len(calls)} calls were made")
    return f"{len(calls)} call"


@check(AREA, "guides/function-calling")
async def a_result_is_answered(server: Server) -> str:
    """A tool's result, given back under the call's id, is answered in words."""
    first = (await _ask(server, ONE, tool_choice="required")).if_served("tools")
    message = first_message(first)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in _calls(first)
    ]
    messages = [{"role": "user", "content": ONE}, message, *results]
    second = (await server.post(CHAT, {"messages": messages, "tools": TOOLS})).ok()
    if maybe(first_message(second), "tool_calls"):
        raise Lacks("the model called again")
    is_equal(second, "choices", 0, "finish_reason", to="stop")
    return shown(text_of(second))


async def _ask(server: Server, prompt: str, **fields: Any) -> Any:
    return await server.post(CHAT, asking(prompt, tools=TOOLS, **fields))


def _calls(document: Any, *, least: int = 1) -> list[dict[str, str]]:
    """The calls of an answer, each in its form; raises `Wrong`."""
    found = maybe(first_message(document), "tool_calls") or []
    expect(isinstance(found, list), "`tool_calls` is not a list")
    expect(len(found) >= least, "no tool was called")
    return [_call(call) for call in found]


def _call(call: Any) -> dict[str, str]:
    is_equal(call, "type", to="function")
    expect(at(call, "id", kind=str) != "", "a call has no id")
    name, text = (at(call, "function", part, kind=str) for part in ("name", "arguments"))
    expect(name in {"get_time", "get_weather"}, f"{shown(name)} is not among the tools")
    _arguments(text)
    return {"id": call["id"], "name": name, "arguments": text}


def _arguments(text: str) -> None:
    try:
        found = json.loads(text)
    except ValueError:
        raise Wrong(f"the arguments are not JSON: {shown(text)}") from None
    expect(isinstance(found, dict), f"the arguments are not an object: {shown(text)}")
