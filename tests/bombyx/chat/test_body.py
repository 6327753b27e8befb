import json
from typing import Any

import pytest

from bombyx.chat.body import (
    MAX_DEPTH,
    encode_body,
    parse_body,
    request_head,
    write_output_limit,
)
from bombyx.errors import HeaderMismatch, InvalidJson, NotFound, RequestError, UnsupportedValue

PATH = "/v1/chat/completions"


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}


def nested(levels: int, leaf: str = "1") -> bytes:
    return (b'{"a":' + b"[" * (levels - 1) + leaf.encode() + b"]" * (levels - 1)) + b"}"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"secret",
        b"[]",
        b"null",
        b'{"a":1,"a":1}',
        b'{"secret":{"b":1,"\\u0062":2}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":"secret"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":9223372036854775808}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"secret":1} x',
        nested(MAX_DEPTH + 1),
        nested(MAX_DEPTH, '"\\ud800"'),
        nested(100_000),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused_without_an_echo(raw: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_body(raw)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"a":[{"b":null,"c":true,"d":-1.5,"e":"\xc3\xa4\\ud83d\\ude00"}]}',
        b'{"a":-9223372036854775808}',
        nested(MAX_DEPTH),
        nested(MAX_DEPTH - 1),
    ],
)
def test_a_sound_body_is_read_and_written_alike(raw: bytes) -> None:
    parsed = parse_body(raw)
    assert parsed == json.loads(raw)
    assert parse_body(encode_body(parsed)) == parsed


def test_the_head_of_a_plain_body() -> None:
    head = request_head(PATH, body())
    assert (head.model, head.stream, head.include_usage, head.choices) == ("m", False, False, 1)
    assert head.max_output is None


def test_the_output_limit_counts_all_choices() -> None:
    asked = body(n=3, max_tokens=7, max_completion_tokens=7, stream=True)
    head = request_head(PATH, asked | {"stream_options": {"include_usage": True}})
    assert (head.stream, head.include_usage, head.choices, head.max_output) == (True, True, 3, 21)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": None}, RequestError),
        ({"model": ""}, RequestError),
        ({"model": "m" * 129}, RequestError),
        ({"stream": 1}, RequestError),
        ({"stream_options": "x"}, RequestError),
        ({"stream_options": {"include_usage": "yes"}}, RequestError),
        ({"n": 0}, UnsupportedValue),
        ({"n": 17}, UnsupportedValue),
        ({"n": True}, UnsupportedValue),
        ({"max_tokens": 0}, RequestError),
        ({"max_tokens": 1.0}, RequestError),
        ({"max_tokens": 2**53}, RequestError),
        ({"max_tokens": 5, "max_completion_tokens": 6}, RequestError),
    ],
)
def test_a_head_that_cannot_be_held_to_is_refused(
    fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        request_head(PATH, body(**fields))


def test_another_path_is_not_served() -> None:
    with pytest.raises(NotFound):
        request_head("/v1/nothing", body())


def test_the_limit_is_shared_between_the_choices_and_written_once() -> None:
    asked = body(n=3, max_completion_tokens=900)
    assert write_output_limit(asked, 10) == body(n=3, max_tokens=3)
    assert asked["max_completion_tokens"] == 900
    assert write_output_limit(body(), 10) == body(max_tokens=10)


def test_a_limit_below_one_token_per_choice_contradicts_the_body() -> None:
    with pytest.raises(HeaderMismatch):
        write_output_limit(body(n=3), 2)
