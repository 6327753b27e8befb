"""How an answer looks on the wire, path by path; the worker writes it (SPEC 2.6, 4.7).

Engines give clean chunks or one clean answer; a form turns them into what the path's clients read.
One form serves one answer, and its methods come in order: `chunk`* then `tail`, or `whole`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bombyx.chat.body import Body, encode_body
from bombyx.chat.sse import DONE, encode_event
from bombyx.chat.usage import openai_usage
from bombyx.errors import BombyxError, envelope
from bombyx.money.cost import Tokens


@dataclass(frozen=True, slots=True)
class Shown:
    """What every answer shows of its request: its id (hex), and when it was made (unix seconds)."""

    id: str
    created: int


class Form(Protocol):
    """The wire form of one answer."""

    def chunk(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """Events for one chunk of a stream, none where the path has nothing to say of it."""
        ...

    def tail(self, tokens: Tokens) -> bytes:
        """The events that end a stream well; `tokens` are final."""
        ...

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """The body of an answer that is not streamed."""
        ...

    def error(self, error: BombyxError) -> bytes:
        """The body of an answer that is an error."""
        ...


class OpenAIForm:
    """Chat completions: chunks as they are, usage where it was asked for, `[DONE]`."""

    __slots__ = ("_head", "_include_usage")

    def __init__(self, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._head: Mapping[str, Any] = {}

    def chunk(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:  # noqa: ARG002 (the port's)
        """One event."""
        if self._include_usage:
            self._head = {name: value for name, value in payload.items() if name != "choices"}
            payload = {**payload, "usage": None}
        return encode_event(encode_body(payload))

    def tail(self, tokens: Tokens) -> bytes:
        """The usage chunk, where it was asked for, and `[DONE]`."""
        if not self._include_usage:
            return DONE
        usage = {**self._head, "choices": [], "usage": openai_usage(tokens)}
        return encode_event(encode_body(usage)) + DONE

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """The answer with its usage."""
        return encode_body({**payload, "usage": openai_usage(tokens)})

    def error(self, error: BombyxError) -> bytes:
        """OpenAI's envelope."""
        return encode_body(envelope(error))


class WholeForm(OpenAIForm):
    """An answer that is never streamed and counts no usage."""

    __slots__ = ()

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:  # noqa: ARG002 (the port's)
        """The answer as the engine's driver made it."""
        return encode_body(payload)


def include_usage(body: Body) -> bool:
    """Whether a stream ends with a usage chunk."""
    return bool((body.get("stream_options") or {}).get("include_usage"))
