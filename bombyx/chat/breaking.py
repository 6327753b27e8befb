"""How a stream that has begun ends in an error, path by path (SPEC 3.5).

A bare close would pass for success in most clients. Every form carries OpenAI's error object under
`error`, which OpenAI's SDKs raise whatever else the event says.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import encode_body
from bombyx.chat.paths import MESSAGES_PATH, RESPONSES_PATH
from bombyx.chat.sse import encode_event, encode_named

_OURS = frozenset({"upstream_error", "server_error", "attestation_error"})


def break_event(path: str, error: Mapping[str, Any]) -> bytes:
    """The last event of a broken stream; `error` is OpenAI's error object."""
    if path == MESSAGES_PATH:
        kind = "api_error" if error.get("type") in _OURS else error.get("type")
        inner = {**error, "type": kind}
        return encode_named("error", encode_body({"type": "error", "error": inner}))
    if path == RESPONSES_PATH:
        told = {name: error.get(name) for name in ("code", "message", "param")}
        return encode_named("error", encode_body({"type": "error", **told, "error": error}))
    return encode_event(encode_body({"error": error}))
