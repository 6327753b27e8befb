"""Engine chunks made clean (SPEC 4.7): one shape whatever server wrote them.

An allow-list of fields: what servers add (`metadata`, `matched_stop`, `sglext`, `timings`, the
engine's fingerprint) tells of the machine or of other requests and stays here.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import count_choices
from bombyx.chat.completions import LEGACY_LOGPROBS, legacy_logprobs
from bombyx.chat.paths import COMPLETIONS_PATH
from bombyx.errors import EngineFailed
from worker.engine.port import EngineRequest

_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_DELTA_TEXTS = ("role", "content", "refusal", "reasoning_content")


def completion_id(request: EngineRequest) -> str:
    """The id that the client sees; without a given one it is derived one-way from our own."""
    if request.completion_id:
        return request.completion_id
    return "chatcmpl-" + hashlib.sha256(request.request_id.encode()).hexdigest()[:32]


class Normaliser:
    """Chunks of one request, in order."""

    __slots__ = ("_finished", "_head", "_is_text", "_lengths", "_open", "_wants_logprobs")

    def __init__(self, request: EngineRequest) -> None:
        self._is_text = request.path == COMPLETIONS_PATH
        self._lengths: dict[int, int] = {}
        """Characters so far of each choice of text."""
        choices = count_choices(request.body)
        self._head = {
            "id": completion_id(request),
            "object": "text_completion" if self._is_text else "chat.completion.chunk",
            "created": request.created,
            "model": request.body["model"],
        }
        self._open = set(range(choices))
        self._finished: set[int] = set()
        self._wants_logprobs = request.body.get("logprobs") not in (None, False)

    @property
    def all_finished(self) -> bool:
        """Whether each choice has its finish reason."""
        return not self._open

    def chunk(self, raw: Mapping[str, Any]) -> dict[str, Any] | None:
        """The clean chunk, None when nothing of it is for the client; raises `EngineFailed`."""
        choices = raw.get("choices")
        if not isinstance(choices, list):
            raise EngineFailed("the engine sent a chunk without choices")
        clean = [one for choice in choices if (one := self._choice(choice)) is not None]
        if not clean:
            return None
        created = self._head["created"] or raw.get("created")
        self._head["created"] = created if type(created) is int else 0
        return {**self._head, "choices": clean}

    def _choice(self, raw: Any) -> dict[str, Any] | None:
        index = raw.get("index", 0) if isinstance(raw, dict) else None
        if index in self._finished:
            # Some engines repeat the finish chunk; clients count finish reasons.
            return None
        if type(index) is not int or index not in self._open:
            raise EngineFailed("the engine answered for a choice that was not asked for")
        reason = raw.get("finish_reason")
        if reason is not None:
            if reason not in _FINISH_REASONS:
                # `abort` comes when the engine gave up on its own: we close, we do not read on.
                raise EngineFailed("the engine broke off the answer")
            self._open.discard(index)
            self._finished.add(index)
        logprobs = raw.get("logprobs") if self._wants_logprobs else None
        if self._is_text:
            return self._text(index, raw.get("text"), logprobs, reason)
        return {
            "index": index,
            "delta": _delta(raw.get("delta")),
            "logprobs": logprobs,
            "finish_reason": reason,
        }

    def _text(self, index: int, text: Any, logprobs: Any, reason: str | None) -> dict[str, Any]:
        """A choice of `/v1/completions`."""
        said = text if isinstance(text, str) else ""
        at = self._lengths.get(index, 0)
        self._lengths[index] = at + len(said)
        return {
            "index": index,
            "text": said,
            "logprobs": _legacy(logprobs, at),
            "finish_reason": reason,
        }

    def finish(self) -> None:
        """The engine's stream ended; raises `EngineFailed` if a choice has no finish reason."""
        if self._open:
            raise EngineFailed("the engine's stream ended before the answer was finished")


def _legacy(raw: Any, offset: int) -> dict[str, Any] | None:
    """Log probabilities in the form of this path; llama.cpp sends those of a chat."""
    if not isinstance(raw, dict):
        return None
    if "content" in raw:
        return legacy_logprobs(raw["content"] or [], offset)
    return {name: raw.get(name) or [] for name in LEGACY_LOGPROBS}


def _delta(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        return {}
    clean = {name: raw[name] for name in _DELTA_TEXTS if isinstance(raw.get(name), str)}
    if "role" in clean:
        # Clients read the first chunk's content as a string.
        clean.setdefault("content", "")
    calls = raw.get("tool_calls")
    if isinstance(calls, list) and calls:
        clean["tool_calls"] = [_call(call) for call in calls if isinstance(call, dict)]
    return clean


def _call(raw: Mapping[str, Any]) -> dict[str, Any]:
    call = {name: raw[name] for name in ("id", "type") if isinstance(raw.get(name), str)}
    given = raw.get("function")
    function = given if isinstance(given, dict) else {}
    named = {
        one: function[one] for one in ("name", "arguments") if isinstance(function.get(one), str)
    }
    return {"index": raw.get("index", 0), **call, "function": named}
