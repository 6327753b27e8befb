"""How a stream that has begun ends in an error, path by path (SPEC 3.5).

A bare close would pass for success in most clients. Every form carries an error object under
`error`, which SDKs raise whatever else the event says.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import encode_body
from bombyx.chat.paths import RESPONSES_PATH, is_anthropic
from bombyx.chat.refusing import refusal_of
from bombyx.chat.sse import encode_event, encode_named

_BEGUN = 200


def break_event(path: str, error: Mapping[str, Any]) -> bytes:
    """The last event of a broken stream; `error` is OpenAI's error object."""
    told = refusal_of(path, _BEGUN, error)
    if is_anthropic(path):
        return encode_named("error", encode_body(told))
    if path == RESPONSES_PATH:
        own = {name: error.get(name) for name in ("code", "message", "param")}
        return encode_named("error", encode_body({"type": "error", **own, **told}))
    return encode_event(encode_body(told))
