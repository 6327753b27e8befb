"""Checks of `/responses`, OpenAI's newer dialect."""

import json
from typing import Any

from bombyx.conformance.chat import HELLO, expect_stream
from bombyx.conformance.checks.structured import PROMPT, SCHEMA, expect_city
from bombyx.conformance.checks.tools import CITY, ONE
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Wrong, at, expect, is_equal, maybe, shown

AREA = "responses"
PATH = "/responses"
TOOL = {"type": "function", "name": "get_weather", "parameters": CITY, "strict": True}


@check(AREA, "api-reference/responses/object")
async def a_response_has_its_form(server: Server) -> str:
    """A whole answer is a completed `response` whose output is a message of text."""
    document = (await server.post(PATH, {"input": HELLO})).if_served("responses")
    is_equal(document, "object", to="response")
    is_equal(document, "status", to="completed")
    is_equal(document, "error", to=None)
    at(document, "id", kind=str)
    expect(said(document) != "", "the answer is empty")
    usage = at(document, "usage", kind=dict)
    names = ("input_tokens", "output_tokens", "total_tokens")
    given, made, total = (at(usage, name, kind=int) for name in names)
    expect(given > 0 and given + made == total, f"{given} + {made} is not {total}")
    return f"{given} + {made} = {total}"


@check(AREA, "api-reference/responses-streaming")
async def a_response_is_streamed(server: Server) -> str:
    """Events are named by their type, numbered from 0, and tell the final text piece by piece."""
    (await server.post(PATH, {"input": HELLO})).if_served("responses")
    stream = await server.stream(PATH, {"input": HELLO})
    expect_stream(stream)
    events = stream.documents()
    kinds = [at(event, "type", kind=str) for event in events]
    named = [event.event for event in stream.events if event.data != b"[DONE]"]
    expect(named == kinds, "an event's name is not its type")
    expect(kinds[0] == "response.created", f"the first event is {kinds[0]}")
    expect(kinds[-1] == "response.completed", f"the last event is {kinds[-1]}")
    numbers = [at(event, "sequence_number", kind=int) for event in events]
    expect(numbers == list(range(len(events))), f"the events are numbered {shown(numbers)}")
    pieces = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    final = said(at(events[-1], "response", kind=dict))
    expect("".join(pieces) == final != "", "the deltas do not make the final text")
    return f"{len(events)} events"


@check(AREA, "guides/function-calling")
async def a_response_calls_a_function(server: Server) -> str:
    """A call is an item of its own, and its output under the same id is answered."""
    body = {"input": ONE, "tools": [TOOL], "tool_choice": "required"}
    document = (await server.post(PATH, body)).if_served("functions of responses")
    items = at(document, "output", kind=list)
    calls = [item for item in items if maybe(item, "type") == "function_call"]
    expect(bool(calls), "no function was called")
    is_equal(calls[0], "name", to="get_weather")
    _expect_object(at(calls[0], "arguments", kind=str))
    call_id = at(calls[0], "call_id", kind=str)
    output = {"type": "function_call_output", "call_id": call_id, "output": "sunny"}
    told = {"input": [{"role": "user", "content": ONE}, *items, output], "tools": [TOOL]}
    is_equal((await server.post(PATH, told)).ok(), "status", to="completed")
    return shown(calls[0]["arguments"])


@check(AREA, "guides/structured-outputs")
async def a_response_follows_a_schema(server: Server) -> str:
    """`text.format` with a strict schema gives JSON that fits it."""
    form = {"type": "json_schema", "name": "city", "strict": True, "schema": SCHEMA}
    answer = await server.post(PATH, {"input": PROMPT, "text": {"format": form}})
    return expect_city(said(answer.if_served("text.format")))


@check(AREA, "api-reference/responses/object#status")
async def a_cut_response_is_incomplete(server: Server) -> str:
    """A response that meets `max_output_tokens` says that it is incomplete, and why."""
    answer = await server.post(PATH, {"input": "count: 90", "max_output_tokens": 16})
    document = answer.if_served("responses")
    is_equal(document, "status", to="incomplete")
    is_equal(document, "incomplete_details", "reason", to="max_output_tokens")
    return "incomplete"


@check(AREA, "api-reference/responses/create#previous_response_id")
async def an_unknown_response_is_not_continued(server: Server) -> str:
    """A `previous_response_id` that cannot be found is refused, never answered without it."""
    (await server.post(PATH, {"input": HELLO})).if_served("responses")
    body = {"input": HELLO, "previous_response_id": "resp_that_nobody_made"}
    error = (await server.post(PATH, body)).error(400, 404)
    return shown(error["message"])


def said(document: Any) -> str:
    """The text of all messages of a response; raises `Wrong`."""
    items = at(document, "output", kind=list)
    messages = [item for item in items if at(item, "type", kind=str) == "message"]
    expect(bool(messages), "the output holds no message")
    parts = [part for message in messages for part in at(message, "content", kind=list)]
    return "".join(at(part, "text", kind=str) for part in parts if part["type"] == "output_text")


def _expect_object(text: str) -> None:
    try:
        found = json.loads(text)
    except ValueError:
        raise Wrong(f"the arguments are not JSON: {shown(text)}") from None
    expect(isinstance(found, dict), f"the arguments are not an object: {shown(text)}")
