"""A chat completion's answer as a Response, whole or as its stream of events."""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import Body, encode_body
from bombyx.chat.forms import Shown
from bombyx.chat.responses.output import (
    COMPLETED,
    IN_PROGRESS,
    INCOMPLETE,
    Item,
    output_of,
    response_usage,
)
from bombyx.chat.responses.stream import Event, OutputStream
from bombyx.chat.sse import encode_named
from bombyx.errors import BombyxError, envelope
from bombyx.money.cost import Tokens

_ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "top_logprobs": 0,
    "tool_choice": "auto",
    "tools": [],
    "user": None,
}
"""What an answer repeats of its request, and what stands there where the request was silent."""
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesForm:
    """The form of one answer."""

    __slots__ = ("_fixed", "_model", "_number", "_output", "_reason", "_shown")

    def __init__(self, asked: Body, shown: Shown) -> None:
        self._shown = shown
        self._fixed = _fixed(asked, shown)
        self._output = OutputStream(shown)
        self._reason = "stop"
        self._number = 0

    def chunk(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:  # noqa: ARG002 (the port's)
        """Events for what the chunk adds."""
        choice = payload["choices"][0]
        begun = b"" if self._number else self._begin()
        self._reason = choice["finish_reason"] or self._reason
        return begun + self._encoded(self._output.add(choice))

    def tail(self, tokens: Tokens) -> bytes:
        """What is open ends; then the whole response as its last event."""
        status = _status(self._reason)
        begun = b"" if self._number else self._begin()
        ended = self._encoded(self._output.finish(status))
        response = self._response(self._output.items, self._reason, tokens)
        return begun + ended + self._event(f"response.{status}", {"response": response})

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """The response object."""
        choice = payload["choices"][0]
        reason = choice["finish_reason"]
        items = output_of(
            choice["message"], choice["logprobs"], shown=self._shown, status=_status(reason)
        )
        return encode_body(self._response(items, reason, tokens))

    def error(self, error: BombyxError) -> bytes:
        """OpenAI's envelope."""
        return encode_body(envelope(error))

    def _begin(self) -> bytes:
        response = {
            **self._fixed,
            "status": IN_PROGRESS,
            "completed_at": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        kinds = ("response.created", "response.in_progress")
        return b"".join(self._event(kind, {"response": response}) for kind in kinds)

    def _response(self, items: list[Item], reason: str, tokens: Tokens) -> dict[str, Any]:
        why = _INCOMPLETE.get(reason)
        return {
            **self._fixed,
            "status": _status(reason),
            "completed_at": None if why else self._shown.created,
            "incomplete_details": {"reason": why} if why else None,
            "output": items,
            "usage": response_usage(tokens),
        }

    def _encoded(self, events: list[Event]) -> bytes:
        return b"".join(self._event(kind, members) for kind, members in events)

    def _event(self, kind: str, members: Mapping[str, Any]) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        return encode_named(kind, encode_body(event))


def _status(reason: str) -> str:
    return INCOMPLETE if reason in _INCOMPLETE else COMPLETED


def _fixed(asked: Body, shown: Shown) -> dict[str, Any]:
    """What stays the same from the first event to the last."""
    echoed = {name: asked.get(name, silent) for name, silent in _ECHOED.items()}
    echoed = {name: _ECHOED[name] if value is None else value for name, value in echoed.items()}
    reasoning, text = asked.get("reasoning") or {}, asked.get("text") or {}
    return {
        "id": f"resp_{shown.id}",
        "object": "response",
        "created_at": shown.created,
        "model": asked["model"],
        **echoed,
        "tools": [{"strict": None, **tool} for tool in echoed["tools"]],
        "background": False,
        "error": None,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "service_tier": "default",
        "store": False,
        "text": {
            "format": text.get("format") or {"type": "text"},
            "verbosity": text.get("verbosity") or "medium",
        },
        "truncation": "disabled",
    }
