"""One `chat.completion` out of its chunks.

Engines are always run as streams, so that counts are known when a request is cut; a client that
asked for a whole answer gets what this puts together.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.usage import openai_usage
from bombyx.errors import EngineFailed
from bombyx.money.cost import Tokens

_TEXTS = ("content", "refusal", "reasoning_content")


class _Choice:
    """What has come for one choice."""

    __slots__ = ("calls", "finish_reason", "logprobs", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.calls: dict[int, dict[str, Any]] = {}
        self.logprobs: dict[str, list[Any]] | None = None
        self.finish_reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or {}
        for name in _TEXTS:
            if isinstance(text := delta.get(name), str):
                self.texts.setdefault(name, []).append(text)
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        for name, entries in (choice.get("logprobs") or {}).items():
            self.logprobs = self.logprobs or {"content": [], "refusal": []}
            self.logprobs.setdefault(name, []).extend(entries or ())
        self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _add_call(self, call: Mapping[str, Any]) -> None:
        index = call.get("index", len(self.calls))
        held = self.calls.setdefault(
            index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        function = call.get("function") or {}
        held["id"] = held["id"] or call.get("id") or ""
        held["function"]["name"] = held["function"]["name"] or function.get("name") or ""
        held["function"]["arguments"] += function.get("arguments") or ""

    def message(self) -> dict[str, Any]:
        texts = {name: "".join(parts) for name, parts in self.texts.items()}
        calls = [self.calls[index] for index in sorted(self.calls)]
        message: dict[str, Any] = {
            "role": "assistant",
            # Calls alone come with null content, an answer of no words with an empty string.
            "content": texts.get("content") or (None if calls or "refusal" in texts else ""),
            "refusal": texts.get("refusal") or None,
            "annotations": [],
        }
        if texts.get("reasoning_content"):
            message["reasoning_content"] = texts["reasoning_content"]
        if calls:
            message["tool_calls"] = calls
        return message

    def logprobs_object(self) -> dict[str, Any] | None:
        if self.logprobs is None:
            return None
        return {name: entries or None for name, entries in self.logprobs.items()}


class Assembler:
    """Chunks in, one answer out."""

    __slots__ = ("_choices", "_head")

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take one `chat.completion.chunk`."""
        for name in ("id", "created", "model", "system_fingerprint"):
            if name in chunk:
                self._head.setdefault(name, chunk[name])
        for choice in chunk.get("choices") or ():
            self._choices.setdefault(choice.get("index", 0), _Choice()).add(choice)

    def answer(self, tokens: Tokens) -> dict[str, Any]:
        """The whole answer; raises `EngineFailed` unless each choice has finished."""
        if not self._choices or any(one.finish_reason is None for one in self._choices.values()):
            raise EngineFailed("the answer ended before it was finished")
        return {
            "object": "chat.completion",
            **self._head,
            "choices": [self._choice(index) for index in sorted(self._choices)],
            "usage": openai_usage(tokens),
        }

    def _choice(self, index: int) -> dict[str, Any]:
        choice = self._choices[index]
        return {
            "index": index,
            "message": choice.message(),
            "logprobs": choice.logprobs_object(),
            "finish_reason": choice.finish_reason,
        }
