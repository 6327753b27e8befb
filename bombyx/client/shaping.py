"""What of a stream passes on, and what waits until its receipt is verified (SPEC 3.9).

Each path has events that say that an answer is complete: chat and completions a usage chunk and
`[DONE]`, Responses their last event, Messages their last two. They are held back, and the usage in
them gets the verified summary.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from bombyx.chat.paths import CHAT_PATH, MESSAGES_PATH, RESPONSES_PATH
from bombyx.chat.sse import DONE, DONE_DATA, Event, SseDecoder, encode_event, encode_named
from bombyx.errors import BadAnswer, BadStream

_SUMMARY = "bombyx"
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

Document = dict[str, Any]


class _Ending(Protocol):
    """Knows the events that end an answer."""

    def holds(self, event: Event) -> bool: ...
    def encoded(self, summary: Document) -> bytes: ...


class StreamShaper:
    """Passes events on and holds back what says that the answer is complete."""

    def __init__(self, path: str = CHAT_PATH) -> None:
        self._decoder = SseDecoder()
        self._ending: _Ending = _ending(path)

    def feed(self, data: bytes) -> bytes:
        """The events to pass on; raises `BadStream`."""
        events = self._decoder.feed(data)
        return b"".join(_encoded(event) for event in events if not self._ending.holds(event))

    def done(self, summary: Document) -> bytes:
        """What was held, with the summary in it; raises `BadStream`."""
        self._decoder.finish()
        return self._ending.encoded(summary)


class _Done:
    """A usage chunk, where there is one, and `[DONE]`."""

    def __init__(self) -> None:
        self._usage: Document | None = None
        self._done = False

    def holds(self, event: Event) -> bool:
        if self._done or event.data == DONE_DATA:
            self._done = True
            return True
        usage = _usage_chunk(event.data)
        self._usage = usage or self._usage
        return usage is not None

    def encoded(self, summary: Document) -> bytes:
        if self._usage is None:
            return DONE
        return encode_event(msgspec.json.encode(_summed(self._usage, summary))) + DONE


class _Last:
    """The events from the first of certain types on; usage lies in it, or one level deeper."""

    def __init__(self, types: frozenset[str], *, inside: str | None, ends_with: str) -> None:
        self._types = types
        self._inside = inside
        self._ends_with = ends_with
        self._held: list[tuple[str, Document]] = []

    def holds(self, event: Event) -> bool:
        kind = _type_of(event.data)
        if self._held or kind in self._types:
            self._held.append((kind, _read(event.data)))
            return True
        return False

    def encoded(self, summary: Document) -> bytes:
        if not self._held or not self._held[-1][0].startswith(self._ends_with):
            raise BadStream("the answer ended without its last event")
        kind, first = self._held[0]
        if self._inside is None:
            first = _summed(first, summary)
        elif isinstance(first.get(self._inside), dict):
            first = {**first, self._inside: _summed(first[self._inside], summary)}
        held = [(kind, first), *self._held[1:]]
        return b"".join(encode_named(one, msgspec.json.encode(told)) for one, told in held)


def _ending(path: str) -> _Ending:
    if path == RESPONSES_PATH:
        types = frozenset({"response.completed", "response.incomplete"})
        return _Last(types, inside="response", ends_with="response.")
    if path == MESSAGES_PATH:
        types = frozenset({"message_delta", "message_stop"})
        return _Last(types, inside=None, ends_with="message_stop")
    return _Done()


def _encoded(event: Event) -> bytes:
    data = event.data.replace(b"\n", b"\ndata: ")
    return encode_event(data) if event.event is None else encode_named(event.event, data)


class _Typed(msgspec.Struct):
    type: str = ""


def _type_of(data: bytes) -> str:
    """What an event says it is, whatever its name says."""
    try:
        return msgspec.json.decode(data, type=_Typed).type
    except _UNREADABLE:
        raise BadStream("an event of the stream is no JSON object") from None


def _read(data: bytes) -> Document:
    try:
        return msgspec.json.decode(data, type=Document)
    except _UNREADABLE:
        raise BadStream("an event of the stream is no JSON object") from None


def _usage_chunk(data: bytes) -> Document | None:
    """The chunk, if it is the one that carries usage and no choices."""
    # Within a JSON string a quote is escaped, so text that quotes the word does not match.
    if b'"usage"' not in data:
        return None
    try:
        chunk = msgspec.json.decode(data, type=Document)
    except _UNREADABLE:
        return None
    is_usage = chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)
    return chunk if is_usage else None


def _summed(document: Mapping[str, Any], summary: Document) -> Document:
    """The document with the summary inside its usage, where it has one."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return dict(document)
    return {**document, "usage": {**usage, _SUMMARY: summary}}


def with_summary(body: bytes, summary: Document) -> bytes:
    """A whole answer with the summary inside its usage, where it has one."""
    try:
        document = msgspec.json.decode(body, type=Document)
    except _UNREADABLE:
        raise BadAnswer("the worker's answer is no JSON object") from None
    if not isinstance(document.get("usage"), dict):
        return body
    return msgspec.json.encode(_summed(document, summary))
