"""SPEC 3.9 for the paths that end in events of their own."""

import json
from typing import Any

import pytest

from bombyx.chat.paths import MESSAGES_PATH, RESPONSES_PATH
from bombyx.chat.sse import SseDecoder, encode_event, encode_named
from bombyx.client.effects import with_bearer
from bombyx.client.shaping import StreamShaper
from bombyx.errors import BadStream

SUMMARY = {"verified": True}


def event(kind: str, **members: Any) -> bytes:
    return encode_named(kind, json.dumps({"type": kind, **members}).encode())


def read(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in SseDecoder().feed(data)]


@pytest.mark.spec("3.9-b")
@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_a_responses_last_event_waits_for_the_verification(kind: str) -> None:
    shaper = StreamShaper(RESPONSES_PATH)
    delta = event("response.output_text.delta", delta="response.completed")
    last = event(kind, response={"id": "r", "usage": {"total_tokens": 3}})
    assert shaper.feed(delta + last) == delta
    assert shaper.feed(delta) == b""
    first, *_ = read(shaper.done(SUMMARY))
    assert first["response"]["usage"] == {"total_tokens": 3, "bombyx": SUMMARY}


@pytest.mark.spec("3.9-b")
def test_a_last_event_under_another_name_waits_too() -> None:
    shaper = StreamShaper(RESPONSES_PATH)
    disguised = encode_event(b'{"type":"response.\\u0063ompleted","response":null}')
    assert shaper.feed(disguised) == b""
    assert read(shaper.done(SUMMARY)) == [{"type": "response.completed", "response": None}]


@pytest.mark.spec("3.9-b")
def test_a_messages_last_two_events_wait_for_the_verification() -> None:
    shaper = StreamShaper(MESSAGES_PATH)
    start = event("message_start", message={})
    assert shaper.feed(start) == start
    held = event("message_delta", usage={"output_tokens": 1}) + event("message_stop")
    assert shaper.feed(held) == b""
    told = read(shaper.done(SUMMARY))
    assert [one["type"] for one in told] == ["message_delta", "message_stop"]
    assert told[0]["usage"]["bombyx"] == SUMMARY


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (RESPONSES_PATH, event("response.created")),
        (MESSAGES_PATH, event("message_start")),
        (MESSAGES_PATH, event("message_delta", usage=None)),
    ],
)
def test_a_stream_without_its_last_event_is_not_done(path: str, data: bytes) -> None:
    shaper = StreamShaper(path)
    shaper.feed(data)
    with pytest.raises(BadStream):
        shaper.done(SUMMARY)


@pytest.mark.parametrize("data", [b"data: [DONE]\n\n", b"data: {\n\n", b'data: {"type":5}\n\n'])
def test_an_event_that_cannot_be_read_breaks_the_stream(data: bytes) -> None:
    with pytest.raises(BadStream):
        StreamShaper(RESPONSES_PATH).feed(data)
    shaper = StreamShaper(RESPONSES_PATH)
    shaper.feed(event("response.completed"))
    with pytest.raises(BadStream):
        shaper.feed(data)


def test_anthropics_header_becomes_a_bearer_and_is_not_sent_on() -> None:
    assert with_bearer((("x-api-key", "k"),)) == (("authorization", "Bearer k"),)
    both = (("authorization", "Bearer a"), ("x-api-key", "k"))
    assert with_bearer(both) == (("authorization", "Bearer a"),)
    assert with_bearer((("accept", "*"),)) == (("accept", "*"),)
