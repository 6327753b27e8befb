"""Input items of a Responses request as the messages of a chat.

A chat keeps an assistant's thoughts, words and calls in one message; items list them one by one.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.fields import require
from bombyx.errors import RequestError, UnsupportedValue

Message = dict[str, Any]

_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def messages_of(value: Any) -> list[Message]:
    """The conversation; raises `RequestError` or `UnsupportedValue`."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    require(isinstance(value, list) and value, "input", "input is a string or a list of items")
    conversation = _Conversation()
    for item in value:
        require(isinstance(item, dict), "input", "each input item is an object")
        conversation.add(item)
    return conversation.messages


class _Conversation:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def add(self, item: Mapping[str, Any]) -> None:
        kind = item.get("type")
        if kind == "message" or (kind is None and "role" in item):
            self._add_message(item)
        elif kind == "function_call":
            self._assistant().setdefault("tool_calls", []).append(_call(item))
        elif kind == "function_call_output":
            self._add_output(item)
        elif kind == "reasoning":
            self._add_reasoning(item)
        else:
            raise UnsupportedValue(
                "input items are messages, function calls, their outputs and reasoning",
                param="input",
            )

    def _add_message(self, item: Mapping[str, Any]) -> None:
        content = _content(item.get("content"))
        last = self.messages[-1] if self.messages else {}
        if item.get("role") == "assistant" and set(last) == {"role", "reasoning_content"}:
            last["content"] = content
        else:
            self.messages.append({"role": item.get("role"), "content": content})

    def _assistant(self) -> Message:
        """The message that thoughts and calls belong to: the last, while it is the assistant's."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant"})
        return self.messages[-1]

    def _add_output(self, item: Mapping[str, Any]) -> None:
        told = item.get("output")
        content = told if isinstance(told, str) else _content(told)
        call = item.get("call_id")
        require(isinstance(call, str), "input", "a function's output names its call_id")
        self.messages.append({"role": "tool", "tool_call_id": call, "content": content})

    def _add_reasoning(self, item: Mapping[str, Any]) -> None:
        text = _joined(item.get("content")) or _joined(item.get("summary"))
        if text:
            # Thoughts come before what they lead to, so they begin a message of their own.
            self.messages.append({"role": "assistant", "reasoning_content": text})


def _call(item: Mapping[str, Any]) -> Message:
    named = {"name": item.get("name"), "arguments": item.get("arguments")}
    call = item.get("call_id")
    require(isinstance(call, str), "input", "a function call has a call_id")
    return {"id": call, "type": "function", "function": named}


def _content(value: Any) -> Any:
    """A string, or the parts of a chat message."""
    if not isinstance(value, list):
        return value
    return [_part(part) for part in value]


def _part(part: Any) -> Message:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": _image(part)}
    raise UnsupportedValue("an input part is text or an image", param="input")


def _image(part: Mapping[str, Any]) -> Message:
    if part.get("file_id") is not None:
        raise UnsupportedValue("no files are kept here: send the image itself", param="input")
    return {"url": part.get("image_url"), "detail": part.get("detail")}


def _joined(parts: Any) -> str:
    if parts is None:
        return ""
    if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):
        raise RequestError("reasoning holds lists of parts", param="input")
    return "\n".join(one["text"] for one in parts if isinstance(one.get("text"), str))
