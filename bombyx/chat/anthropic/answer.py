"""A chat completion's answer as a Message, whole or as its stream of events."""

import json
from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import Body, encode_body
from bombyx.chat.forms import Shown, WholeForm
from bombyx.chat.paths import COUNT_TOKENS_PATH, MESSAGES_PATH
from bombyx.chat.refusing import refusal_document
from bombyx.chat.sse import encode_named
from bombyx.errors import BombyxError
from bombyx.money.cost import Tokens

Block = dict[str, Any]

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


class MessagesForm:
    """The form of one answer.

    Which stop sequence ended it engines do not say, so `stop_sequence` is null.
    """

    __slots__ = ("_at", "_blocks", "_calls", "_head", "_id", "_reason", "_speech")

    def __init__(self, asked: Body, shown: Shown) -> None:
        self._id = shown.id
        self._head = {
            "id": f"msg_{shown.id}",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
        }
        self._speech = ""
        self._at = self._blocks = -1
        self._calls: dict[int, int] = {}
        self._reason = ""

    def chunk(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """Events for what the chunk adds."""
        choice = payload["choices"][0]
        begun = b"" if self._reason else self._begin(tokens)
        self._reason = choice["finish_reason"] or self._reason
        return begun + b"".join(self._delta(choice["delta"]))

    def tail(self, tokens: Tokens) -> bytes:
        """The open block ends; why the answer ended, its usage, and the end."""
        begun = b"" if self._reason else self._begin(tokens)
        delta = {"stop_reason": _REASONS.get(self._reason, "end_turn"), "stop_sequence": None}
        last = {"delta": delta, "usage": messages_usage(tokens)}
        stops = [_event("content_block_stop", index=at) for at in self._calls.values()]
        ends = [
            *self._end_speech(),
            *stops,
            _event("message_delta", **last),
            _event("message_stop"),
        ]
        return begun + b"".join(ends)

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """The message."""
        choice = payload["choices"][0]
        answer = {
            **self._head,
            "content": _blocks(choice["message"]),
            "stop_reason": _REASONS[choice["finish_reason"]],
            "usage": messages_usage(tokens),
        }
        return encode_body(answer)

    def error(self, error: BombyxError) -> bytes:
        """Anthropic's envelope."""
        return encode_body(refusal_document(MESSAGES_PATH, error, request_id=self._id))

    def _begin(self, tokens: Tokens) -> bytes:
        self._reason = "stop"
        message = {
            **self._head,
            "content": [],
            "stop_reason": None,
            "usage": messages_usage(tokens),
        }
        return _event("message_start", message=message)

    def _delta(self, delta: Mapping[str, Any]) -> list[bytes]:
        events: list[bytes] = []
        if text := delta.get("reasoning_content"):
            events += self._speak("thinking", {"signature": ""}, text)
        for name in ("content", "refusal"):
            if text := delta.get(name):
                events += self._speak("text", {"citations": []}, text)
        for call in delta.get("tool_calls") or ():
            events += self._piece(call)
        return events

    def _speak(self, kind: str, more: Block, text: str) -> list[bytes]:
        events: list[bytes] = []
        if self._speech != kind:
            events = [*self._end_speech(), self._start({"type": kind, kind: "", **more})]
            self._speech, self._at = kind, self._blocks
        return [*events, _grow(self._at, {"type": f"{kind}_delta", kind: text})]

    def _piece(self, call: Mapping[str, Any]) -> list[bytes]:
        """Calls stay open to the end, since engines may mix their pieces."""
        function = call["function"]
        events: list[bytes] = []
        if call["index"] not in self._calls:
            named = _use(call.get("id", ""), function.get("name", ""), {})
            events = [*self._end_speech(), self._start(named)]
            self._calls[call["index"]] = self._blocks
        if text := function.get("arguments"):
            delta = {"type": "input_json_delta", "partial_json": text}
            events.append(_grow(self._calls[call["index"]], delta))
        return events

    def _start(self, block: Block) -> bytes:
        self._blocks += 1
        return _event("content_block_start", index=self._blocks, content_block=block)

    def _end_speech(self) -> list[bytes]:
        if not self._speech:
            return []
        self._speech = ""
        return [_event("content_block_stop", index=self._at)]


class CountForm(WholeForm):
    """The form of a count, which its driver has made already."""

    __slots__ = ("_id",)

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self._id = shown.id

    def error(self, error: BombyxError) -> bytes:
        """Anthropic's envelope."""
        return encode_body(refusal_document(COUNT_TOKENS_PATH, error, request_id=self._id))


def _grow(index: int, delta: Block) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)


def _event(kind: str, **members: Any) -> bytes:
    return encode_named(kind, encode_body({"type": kind, **members}))


def _blocks(message: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    if thought := message.get("reasoning_content"):
        blocks.append({"type": "thinking", "thinking": thought, "signature": ""})
    texts = (message.get(name) for name in ("content", "refusal"))
    # Anthropic's schema wants the member and allows null, which the AI SDK's reader refuses.
    blocks += [{"type": "text", "text": text, "citations": []} for text in texts if text]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        blocks.append(_use(call["id"], function["name"], _read(function["arguments"])))
    return blocks


def _use(call: str, name: str, given: Any) -> Block:
    who = {"type": "direct"}
    return {"type": "tool_use", "id": call, "name": name, "input": given, "caller": who}


def _read(arguments: str) -> Any:
    """The call's input; what a model wrote badly is shown under a name of its own."""
    try:
        found = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"arguments": arguments}


def messages_usage(tokens: Tokens) -> dict[str, Any]:
    """The usage object of this dialect, where cached tokens do not count as input."""
    return {
        "input_tokens": tokens.prompt - tokens.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": None,
        "output_tokens": tokens.completion,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }
