"""Checks of `/messages`: Anthropic's dialect, which many gateways speak beside OpenAI's."""

from typing import Any

from bombyx.conformance.chat import COUNT, HELLO, expect_stream
from bombyx.conformance.checks.tools import CITY, ONE
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import at, expect, is_equal

AREA = "messages"
PATH = "/messages"
DOCUMENTED = "Anthropic API reference, Messages"
STREAMING = "Anthropic documentation, Streaming messages"


def _asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 64, "messages": [{"role": "user", "content": text}], **fields}


@check(AREA, DOCUMENTED)
async def a_message_has_its_form(server: Server) -> str:
    """A whole answer is a `message` of the assistant with blocks, a stop reason and counts."""
    body = _asking(HELLO, system="Be brief.")
    document = (await server.post(PATH, body)).if_served("messages")
    for name, value in (("type", "message"), ("role", "assistant"), ("stop_reason", "end_turn")):
        is_equal(document, name, to=value)
    at(document, "id", kind=str)
    blocks = at(document, "content", kind=list)
    text = "".join(at(one, "text", kind=str) for one in blocks if one.get("type") == "text")
    expect(text != "", "there is no text")
    counts = [at(document, "usage", name, kind=int) for name in ("input_tokens", "output_tokens")]
    expect(min(counts) > 0, f"tokens were not counted: {counts}")
    return f"{counts[0]} in, {counts[1]} out"


@check(AREA, STREAMING)
async def a_message_is_streamed(server: Server) -> str:
    """Events are named by their type, from `message_start` to `message_stop`, blocks in order."""
    body = _asking(HELLO)
    (await server.post(PATH, body)).if_served("messages")
    stream = await server.stream(PATH, body)
    expect_stream(stream)
    events = [event for event in stream.documents() if event.get("type") != "ping"]
    kinds = [at(event, "type", kind=str) for event in events]
    named = [event.event for event in stream.events if event.event != "ping"]
    expect(named == kinds, "an event's name is not its type")
    expect(kinds[0] == "message_start", f"the first event is {kinds[0]}")
    expect(kinds[-2:] == ["message_delta", "message_stop"], f"the last events are {kinds[-2:]}")
    starts, stops = kinds.count("content_block_start"), kinds.count("content_block_stop")
    expect(starts == stops > 0, f"{starts} blocks begin and {stops} end")
    is_equal(events[-2], "delta", "stop_reason", to="end_turn")
    at(events[-2], "usage", "output_tokens", kind=int)
    return f"{len(events)} events"


@check(AREA, "Anthropic documentation, Tool use")
async def a_message_uses_a_tool(server: Server) -> str:
    """A forced tool gives a `tool_use` block whose input is an object."""
    tool = {"name": "get_weather", "description": "The weather of a city.", "input_schema": CITY}
    body = _asking(ONE, tools=[tool], tool_choice={"type": "any"})
    document = (await server.post(PATH, body)).if_served("tools of messages")
    is_equal(document, "stop_reason", to="tool_use")
    uses = [one for one in at(document, "content", kind=list) if one.get("type") == "tool_use"]
    expect(bool(uses), "no block uses a tool")
    is_equal(uses[0], "name", to="get_weather")
    at(uses[0], "id", kind=str)
    return str(at(uses[0], "input", kind=dict))


@check(AREA, DOCUMENTED)
async def a_cut_message_says_so(server: Server) -> str:
    """A message that meets `max_tokens` has that for its stop reason."""
    document = (await server.post(PATH, _asking(COUNT, max_tokens=3))).if_served("messages")
    is_equal(document, "stop_reason", to="max_tokens")
    return "max_tokens"


@check(AREA, "Anthropic API reference, Authentication")
async def the_key_may_come_as_anthropic_sends_it(server: Server) -> str:
    """`x-api-key` opens as well as a bearer, and a wrong one does not."""
    body = _asking(HELLO)
    (await server.post(PATH, body)).if_served("messages")
    version = {"authorization": "", "anthropic-version": "2023-06-01"}
    is_equal(
        (await server.post(PATH, body, headers={**version, "x-api-key": server.key})).ok(),
        "type",
        to="message",
    )
    refused = await server.post(PATH, body, headers={**version, "x-api-key": "sk-wrong"})
    expect(refused.status in (401, 403), f"a wrong key was answered with {refused.status}")
    return "opened"
