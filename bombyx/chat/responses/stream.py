"""Chat deltas as output items that open, grow and close."""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.forms import Shown
from bombyx.chat.responses.output import (
    COMPLETED,
    IN_PROGRESS,
    Item,
    call_item,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)

Event = tuple[str, dict[str, Any]]
"""Kind and members; the answer's form adds the sequence number."""


class _Open:
    """The item that is growing: its kind, its text so far, and how it looks."""

    def __init__(self, kind: str, item: Item, index: int) -> None:
        self.kind = kind
        self.item = item
        self.logprobs: list[Any] = []
        self._pieces: list[str] = []
        self._place = {"item_id": item["id"], "output_index": index}

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def begin(self) -> list[Event]:
        at = {"output_index": self._place["output_index"], "item": dict(self.item)}
        events: list[Event] = [("response.output_item.added", at)]
        if self.kind != "call":
            events.append(("response.content_part.added", self._at(part=self._part())))
        return events

    def grow(self, text: str, logprobs: list[Any]) -> Event:
        self._pieces.append(text)
        self.logprobs += logprobs
        match self.kind:
            case "text":
                kind, more = "output_text", {"logprobs": logprobs}
            case "call":
                return "response.function_call_arguments.delta", {**self._place, "delta": text}
            case _:
                kind, more = self._name(), {}
        return f"response.{kind}.delta", self._at(delta=text, **more)

    def end(self, status: str) -> list[Event]:
        self.item["status"] = status
        if self.kind == "call":
            self.item["arguments"] = self.text
            done = {**self._place, "name": self.item["name"], "arguments": self.text}
            events: list[Event] = [("response.function_call_arguments.done", done)]
        else:
            part = self._part()
            self.item["content"] = [part]
            said = {name: value for name, value in part.items() if name in _SAID}
            events = [
                (f"response.{self._name()}.done", self._at(**said)),
                ("response.content_part.done", self._at(part=part)),
            ]
        at = {"output_index": self._place["output_index"], "item": self.item}
        return [*events, ("response.output_item.done", at)]

    def _at(self, **members: Any) -> dict[str, Any]:
        return {**self._place, "content_index": 0, **members}

    def _name(self) -> str:
        return {"text": "output_text", "reasoning": "reasoning_text"}.get(self.kind, "refusal")

    def _part(self) -> Item:
        match self.kind:
            case "text":
                return text_part(self.text, self.logprobs)
            case "reasoning":
                return {"type": "reasoning_text", "text": self.text}
            case _:
                return refusal_part(self.text)


_SAID = frozenset({"text", "refusal", "logprobs"})
_KINDS = (("reasoning_content", "reasoning"), ("content", "text"), ("refusal", "refusal"))


class OutputStream:
    """The output of one answer; `items` are those that were begun, whole once `finish` was.

    Words and thoughts take turns; calls stay open to the end, since engines may mix their pieces.
    """

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._speech: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self.items: list[Item] = []

    def add(self, choice: Mapping[str, Any]) -> list[Event]:
        """What a chunk's choice adds."""
        delta = choice["delta"]
        events: list[Event] = []
        for name, kind in _KINDS:
            if text := delta.get(name):
                entries = (choice.get("logprobs") or {}).get("content") or []
                events += self._speak(kind, text, entries if kind == "text" else [])
        for call in delta.get("tool_calls") or ():
            events += self._call(call)
        return events

    def finish(self, status: str) -> list[Event]:
        """What is open ends, the last item with `status`; an answer of nothing is an empty one."""
        events: list[Event] = []
        if not self.items:
            self._speech, events = self._begin_speech("text")
        opened = [*([self._speech] if self._speech else []), *self._calls.values()]
        for one in opened:
            events += one.end(status if one.item is self.items[-1] else COMPLETED)
        return events

    def _speak(self, kind: str, text: str, logprobs: list[Any]) -> list[Event]:
        events: list[Event] = []
        speech = self._speech
        if speech is None or speech.kind != kind:
            ended = [] if speech is None else speech.end(COMPLETED)
            speech, begun = self._begin_speech(kind)
            events = [*ended, *begun]
        self._speech = speech
        return [*events, speech.grow(text, logprobs)]

    def _call(self, call: Mapping[str, Any]) -> list[Event]:
        index, function = call["index"], call["function"]
        events: list[Event] = []
        opened = self._calls.get(index)
        if opened is None:
            name = function.get("name", "")
            at = len(self.items)
            item = call_item(self._shown, at, call.get("id", ""), name, "", IN_PROGRESS)
            opened = self._calls[index] = _Open("call", item, at)
            self.items.append(item)
            events = opened.begin()
        text = function.get("arguments")
        return [*events, opened.grow(text, [])] if text else events

    def _begin_speech(self, kind: str) -> tuple[_Open, list[Event]]:
        at = len(self.items)
        if kind == "reasoning":
            item = reasoning_item(self._shown, at, "", IN_PROGRESS)
        else:
            item = message_item(self._shown, at, [], IN_PROGRESS)
        self.items.append(item)
        opened = _Open(kind, item, at)
        return opened, opened.begin()
