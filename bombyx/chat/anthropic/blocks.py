"""Content blocks of a Messages request as the messages of a chat.

A user's message may hold results of tools beside words; a chat has a message for each result, and
they come first, since they answer the calls just before them.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import encode_body
from bombyx.chat.fields import require
from bombyx.errors import UnsupportedValue

Message = dict[str, Any]


def system_of(value: Any) -> list[Message]:
    """The system prompt, where there is one."""
    blocks = [{"text": value}] if isinstance(value, str) else value or []
    texts = [_text(one) for one in blocks] if isinstance(blocks, list) else [None]
    found = [text for text in texts if text is not None]
    fits = len(found) == len(texts)
    require(fits, "system", "system is a string or a list of text blocks")
    joined = "\n".join(found)
    return [{"role": "system", "content": joined}] if joined else []


def _text(block: Any) -> str | None:
    text = block.get("text") if isinstance(block, dict) else None
    return text if isinstance(text, str) else None


def messages_of(value: Any) -> list[Message]:
    """The conversation; raises `RequestError` or `UnsupportedValue`."""
    require(isinstance(value, list) and value, "messages", "messages is a list, not an empty one")
    made: list[Message] = []
    for message in value:
        require(isinstance(message, dict), "messages", "each message is an object")
        role, content = message.get("role"), message.get("content")
        if isinstance(content, str):
            made.append({"role": role, "content": content})
            continue
        require(isinstance(content, list), "messages", "content is a string or a list of blocks")
        objects = all(isinstance(one, dict) for one in content)
        require(objects, "messages", "each block is an object")
        made += [_said(content)] if role == "assistant" else _told(role, content)
    return made


def _told(role: Any, blocks: list[Mapping[str, Any]]) -> list[Message]:
    """What a user's message holds: results first, then words and images."""
    results = [one for one in blocks if one.get("type") == "tool_result"]
    others = [one for one in blocks if one.get("type") != "tool_result"]
    made = [_result(one) for one in results]
    if others or not results:
        made.append({"role": role, "content": [_part(one) for one in others]})
    return made


def _said(blocks: list[Mapping[str, Any]]) -> Message:
    """What an assistant's message holds, thoughts and calls included."""
    made: Message = {"role": "assistant"}
    texts: list[Any] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                texts.append(block.get("text"))
            case "tool_use":
                made.setdefault("tool_calls", []).append(_call(block))
            case "thinking":
                made["reasoning_content"] = block.get("thinking")
            case "redacted_thinking":
                pass  # nobody here could read it
            case _:
                raise UnsupportedValue(_WRONG_BLOCK, param="messages")
    fits = all(isinstance(text, str) for text in texts)
    require(fits, "messages", "a text block holds a string")
    made["content"] = "".join(texts) or None
    return made


_WRONG_BLOCK = "a block is text, an image, a call or its result, or thinking"


def _part(block: Mapping[str, Any]) -> Message:
    match block.get("type"):
        case "text":
            return {"type": "text", "text": block.get("text")}
        case "image":
            return {"type": "image_url", "image_url": {"url": _url(block.get("source"))}}
        case _:
            raise UnsupportedValue(_WRONG_BLOCK, param="messages")


def _url(source: Any) -> Any:
    """The image as a `data:` URL, which is checked as every chat's is."""
    if not isinstance(source, dict):
        return None
    if source.get("type") == "url":
        return source.get("url")
    kind, data = source.get("media_type"), source.get("data")
    is_data = isinstance(kind, str) and isinstance(data, str)
    return f"data:{kind};base64,{data}" if is_data else None


def _call(block: Mapping[str, Any]) -> Message:
    arguments = block.get("input")
    require(isinstance(arguments, dict), "messages", "a tool_use block holds an input object")
    named = {"name": block.get("name"), "arguments": encode_body(arguments or {}).decode()}
    return {"id": block.get("id"), "type": "function", "function": named}


def _result(block: Mapping[str, Any]) -> Message:
    content = block.get("content")
    if isinstance(content, list):
        objects = all(isinstance(one, dict) for one in content)
        require(objects, "messages", "each block is an object")
        content = [_part(one) for one in content]
    # A tool that had nothing to say has been called all the same.
    call = block.get("tool_use_id")
    require(isinstance(call, str), "messages", "a tool_result block names its tool_use_id")
    return {"role": "tool", "tool_call_id": call, "content": content or ""}
