"""Engine errors in our own words (SPEC 4.7).

Servers answer errors in five shapes, and some quote the prompt or file paths of the machine; so
only their status and a few known kinds are read, and the sentence is always ours.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.errors import (
    BombyxError,
    ContextLengthExceeded,
    EngineFailed,
    EngineTimeout,
    Overloaded,
    RequestError,
)

RETRY_AFTER_MS = 1000
_CONTEXT_MARKS = ("exceed_context_size", "context length", "context size", "context window")
_BUSY = frozenset({429, 503})
_REFUSED = frozenset({400, 413, 422})
_ABSENT = frozenset({404, 405, 501})


def engine_error(status: int, body: Any) -> BombyxError:
    """What an engine's answer of `status` with this (parsed) body means to the caller."""
    status = _inner_status(status, body)
    if status in _BUSY:
        return Overloaded("the engine's queue is full", retry_after_ms=RETRY_AFTER_MS)
    if status in {408, 504}:
        return EngineTimeout("the engine did not answer in time")
    if status in _REFUSED:
        if any(mark in _words(body) for mark in _CONTEXT_MARKS):
            return ContextLengthExceeded(
                "prompt and output exceed this model's maximum context limit"
            )
        return RequestError("the engine refuses this request's parameters")
    # 401, 404 and the like are between worker and engine: no fault of the client's.
    return EngineFailed("the engine failed")


def is_absent(status: int, body: Any) -> bool:
    """Whether an answer says that the server, or its kind of model, has no such endpoint."""
    status = _inner_status(status, body)
    return status in _ABSENT or (status in _REFUSED and "embedding" in _words(body))


def error_in(event: Mapping[str, Any]) -> BombyxError | None:
    """The error that an event of a stream carries, if it is one."""
    if event.get("error") is None and event.get("object") != "error":
        return None
    return engine_error(500, event)


def _holder(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body


def _inner_status(status: int, body: Any) -> int:
    """A stream's error has its status inside, since the HTTP status was sent before it."""
    code = _holder(body).get("code")
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    return code if type(code) is int and 400 <= code <= 599 else status  # noqa: PLR2004 (HTTP's)


def _words(body: Any) -> str:
    holder = _holder(body)
    return " ".join(str(holder.get(name, "")) for name in ("type", "code", "message")).lower()
