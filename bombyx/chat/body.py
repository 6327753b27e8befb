"""Request bodies: parsing, the head that SPEC 2.2 compares, and output limits (SPEC 2.3-2.6).

Knows how many tokens a request may produce, whatever the path; knows nothing of which other fields
an engine takes (`surface`). Messages never repeat what a client wrote.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn

import msgspec

from bombyx.chat.paths import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    MESSAGES_PATH,
    RESPONSES_PATH,
    SERVED_PATHS,
    SILENT_PATHS,
)
from bombyx.errors import HeaderMismatch, InvalidJson, NotFound, RequestError, UnsupportedValue
from bombyx.units import MAX_SAFE_INTEGER

Body = dict[str, Any]

MAX_DEPTH = 64
"""Deeper than any tool schema in use, far above what engines parse without recursion trouble."""
MAX_CHOICES = 16
MAX_PROMPTS = 128
"""Of one completion request, each answered `n` times."""
MAX_MODEL_NAME = 128
_LIMIT_NAMES = {
    CHAT_PATH: ("max_completion_tokens", "max_tokens"),
    COMPLETIONS_PATH: ("max_tokens",),
    RESPONSES_PATH: ("max_output_tokens",),
    MESSAGES_PATH: ("max_tokens",),
}

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the outside of a sealed request must agree with.

    `choices` counts answers over all prompts, 0 where a model writes none. `max_output` is their
    total in tokens, None where the body names no limit.
    """

    model: str
    stream: bool
    include_usage: bool
    choices: int
    max_output: int | None


def parse_body(raw: bytes) -> Body:
    """Read one JSON object; raises `InvalidJson`.

    Refuses what two parsers could read differently: duplicate keys, NaN and infinities, lone
    surrogates, integers beyond 64 bits, more than `MAX_DEPTH` levels, and text that is not UTF-8.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except InvalidJson:
        raise
    except (ValueError, RecursionError):
        # The parser's own message can quote the body.
        raise InvalidJson("the body is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise InvalidJson("the body is not a JSON object")
    _check_values(value)
    return value


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8."""
    return _encoder.encode(body)


def _unique(pairs: list[tuple[str, Any]]) -> Body:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidJson("the body has a duplicate key")
    return found


def _no_constant(_: str) -> NoReturn:
    raise InvalidJson("the body holds NaN or Infinity")


def _check_values(root: Body) -> None:
    """Depth and scalars, without recursion: a hostile body must not pick our stack's depth."""
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            else:
                _check_scalar(value)
        if not below:
            return
        level = below
    if any(isinstance(value, dict | list) for value in level):
        raise InvalidJson(f"the body nests deeper than {MAX_DEPTH} levels")
    for value in level:
        _check_scalar(value)


def _check_scalar(value: str | float | None) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidJson("the body holds a lone surrogate")
    elif isinstance(value, float):
        if not isfinite(value):
            raise InvalidJson("the body holds a number beyond the range of doubles")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidJson("the body holds an integer beyond 64 bits")


def request_head(path: str, body: Mapping[str, Any]) -> RequestHead:
    """Read model, stream and limits.

    Raises `NotFound` for a path that is not served, `RequestError` or `UnsupportedValue`.
    """
    if path not in SERVED_PATHS:
        raise NotFound("this path is not served")
    if path in SILENT_PATHS:
        # A header's limit is at least 1 (SPEC 2); nothing is written here.
        return RequestHead(_model(body), stream=False, include_usage=False, choices=0, max_output=1)
    choices = count_choices(body)
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RequestError("stream_options is an object", param="stream_options")
    return RequestHead(
        model=_model(body),
        stream=_flag(body, "stream"),
        include_usage=_flag(options, "include_usage"),
        choices=choices,
        max_output=_total(body, _LIMIT_NAMES[path], choices),
    )


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_MODEL_NAME:
        raise RequestError("model names the model, 1 to 128 characters", param="model")
    return model


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{name} is true or false", param=name)
    return bool(value)


def count_choices(body: Mapping[str, Any]) -> int:
    """How many answers a body asks for, over all its prompts; raises `UnsupportedValue`."""
    value = body.get("n")
    if value is None:
        value = 1
    if type(value) is not int or not 1 <= value <= MAX_CHOICES:
        raise UnsupportedValue(f"n lies between 1 and {MAX_CHOICES}", param="n")
    prompts = count_prompts(body.get("prompt"))
    if not 1 <= prompts <= MAX_PROMPTS:
        raise UnsupportedValue(f"prompt holds 1 to {MAX_PROMPTS} prompts", param="prompt")
    return value * prompts


def count_prompts(value: Any) -> int:
    """Prompts in a `prompt` field: a string or a list of token numbers is one."""
    if not isinstance(value, list) or any(type(one) is int for one in value):
        return 1
    return len(value)


def _total(body: Mapping[str, Any], names: tuple[str, ...], choices: int) -> int | None:
    found: int | None = None
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not int or not 1 <= value <= MAX_SAFE_INTEGER // MAX_CHOICES:
            raise RequestError(f"{name} is a positive integer", param=name)
        if found is not None and found != value:
            raise RequestError("max_tokens and max_completion_tokens differ", param=name)
        found = value
    if found is not None and found * choices > MAX_SAFE_INTEGER:
        raise RequestError("so many tokens cannot be counted", param=names[-1])
    return None if found is None else found * choices


def write_output_limit(body: Mapping[str, Any], total: int) -> Body:
    """The body with its share of `total` output tokens per choice, in the name all engines know.

    Raises `HeaderMismatch` where `total` is less than one token per choice.
    """
    share = total // count_choices(body)
    if share < 1:
        raise HeaderMismatch("max_output_tokens leaves less than one token to each choice")
    limited = {name: value for name, value in body.items() if name != "max_completion_tokens"}
    limited["max_tokens"] = share
    return limited
