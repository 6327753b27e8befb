"""The shape of `messages`: who speaks, and in which parts (SPEC 4.1).

Engines differ in what they let pass (some answer an empty list), so it is checked before any.
Images come by `data:` URL only: a worker that fetched addresses out of prompts would be a hole in
its own walls.
"""

from typing import Any

from bombyx.chat.fields import require
from bombyx.errors import RequestError, UnsupportedValue

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_DETAILS = ("auto", "low", "high")
_TEXTS = ("text", "refusal")
"""Tuples, since a client may write a list where a word belongs, and a list has no hash."""
_KEYS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content"}
)
"""What engines get of a message; clients send answers back whole, `annotations` and all."""


def admit_messages(value: Any) -> list[dict[str, Any]]:
    """The messages as engines get them; raises `RequestError` or `UnsupportedValue`."""
    require(isinstance(value, list) and value, "messages", "messages is a list, not an empty one")
    return [_admit(message) for message in value]


def _admit(message: Any) -> dict[str, Any]:
    require(isinstance(message, dict), "messages", "each message is an object")
    role, content = message.get("role"), message.get("content")
    known = isinstance(role, str) and role in ROLES
    require(known, "messages", "a message's role is system, developer, user, assistant or tool")
    admitted = {name: one for name, one in message.items() if name in _KEYS and one is not None}
    if "tool_calls" in admitted:
        _check_calls(role, admitted["tool_calls"])
    if content is None:
        # An assistant that only called tools has said nothing.
        require(role == "assistant", "messages", "a message needs content")
        admitted["content"] = ""
    elif isinstance(content, list):
        require(content, "messages", "a message's list of parts is not empty")
        admitted["content"] = [_part(part) for part in content]
    else:
        require(isinstance(content, str), "messages", "content is a string or a list of parts")
    return admitted


def _check_calls(role: str, calls: Any) -> None:
    fits = role == "assistant" and isinstance(calls, list) and all(map(_is_call, calls))
    require(fits, "messages", "tool_calls are an assistant's list of function calls")


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS:
        require(isinstance(part.get(kind), str), "messages", f"a {kind} part holds a string")
        return {"type": "text", "text": part[kind]}
    if kind == "image_url":
        return {"type": "image_url", "image_url": _image(part.get("image_url"))}
    raise UnsupportedValue("a content part is text or image_url", param="messages")


def _image(image: Any) -> dict[str, str]:
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str):
        raise RequestError("an image part holds image_url.url", param="messages")
    if not url.startswith("data:image/"):
        raise UnsupportedValue("images come as data: URLs; none is fetched", param="messages")
    detail = image.get("detail")
    return {"url": url, "detail": detail} if detail in _DETAILS else {"url": url}
