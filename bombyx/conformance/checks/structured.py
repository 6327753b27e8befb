"""Checks of answers in JSON."""

import json
from typing import Any

from bombyx.conformance.chat import CHAT, ask_streamed, asking, put_together, text_of
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Wrong, at, expect, shown

AREA = "structured output"
PROMPT = 'A city as JSON: name is "Paris", people is 2000000.'
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
BY_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "city", "strict": True, "schema": SCHEMA},
}


@check(AREA, "guides/structured-outputs")
async def json_follows_its_schema(server: Server) -> str:
    """Under a strict `json_schema` the answer is JSON that fits the schema."""
    answer = await server.post(CHAT, asking(PROMPT, response_format=BY_SCHEMA))
    return expect_city(text_of(answer.if_served("json_schema")))


@check(AREA, "guides/structured-outputs#streaming")
async def streamed_json_follows_its_schema(server: Server) -> str:
    """The deltas of a streamed one make such JSON together."""
    body = asking(PROMPT, response_format=BY_SCHEMA)
    (await server.post(CHAT, body)).if_served("json_schema")
    _, chunks = await ask_streamed(server, body)
    return expect_city(put_together(chunks)[0].text)


@check(AREA, "guides/structured-outputs#json-mode")
async def json_mode_answers_an_object(server: Server) -> str:
    """Under `json_object` the answer is one JSON object."""
    body = asking(PROMPT, response_format={"type": "json_object"})
    text = text_of((await server.post(CHAT, body)).if_served("json_object"))
    expect(isinstance(_parsed(text), dict), f"the answer is no object: {shown(text)}")
    return shown(text)


def expect_city(text: str) -> str:
    """A text that fits the schema; raises `Wrong`."""
    city = _parsed(text)
    at(city, "name", kind=str)
    at(city, "people", kind=int)
    expect(set(city) == {"name", "people"}, f"the answer has other members: {shown(city)}")
    return shown(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Wrong(f"the answer is not JSON: {shown(text)}") from None
