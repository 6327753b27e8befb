"""Output items of a Responses answer, out of chat messages."""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.forms import Shown
from bombyx.money.cost import Tokens

Item = dict[str, Any]

COMPLETED, INCOMPLETE, IN_PROGRESS = "completed", "incomplete", "in_progress"


def output_of(
    message: Mapping[str, Any], logprobs: Any, *, shown: Shown, status: str
) -> list[Item]:
    """The items of one chat message: thoughts, words, calls; `status` is that of the last."""
    items: list[Item] = []
    if message.get("reasoning_content"):
        items.append(reasoning_item(shown, 0, message["reasoning_content"]))
    calls = message.get("tool_calls") or ()
    if message.get("content") or message.get("refusal") or not calls:
        entries = (logprobs or {}).get("content") or []
        parts = [text_part(message["content"], entries)] if message.get("content") else []
        if message.get("refusal"):
            parts.append(refusal_part(message["refusal"]))
        items.append(message_item(shown, len(items), parts or [text_part("", [])]))
    for call in calls:
        function = call["function"]
        made = call_item(shown, len(items), call["id"], function["name"], function["arguments"])
        items.append(made)
    items[-1]["status"] = status
    return items


def reasoning_item(shown: Shown, index: int, text: str, status: str = COMPLETED) -> Item:
    """Thoughts, in clear."""
    parts = [{"type": "reasoning_text", "text": text}] if text else []
    return {
        "id": f"rs_{shown.id}{index:02x}",
        "type": "reasoning",
        "status": status,
        "summary": [],
        "content": parts,
    }


def message_item(shown: Shown, index: int, parts: list[Item], status: str = COMPLETED) -> Item:
    """Words."""
    return {
        "id": f"msg_{shown.id}{index:02x}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": parts,
    }


def call_item(
    shown: Shown, index: int, call: str, name: str, arguments: str, status: str = COMPLETED
) -> Item:
    """A function call."""
    return {
        "id": f"fc_{shown.id}{index:02x}",
        "type": "function_call",
        "status": status,
        "call_id": call,
        "name": name,
        "arguments": arguments,
    }


def text_part(text: str, logprobs: list[Any]) -> Item:
    """A part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def refusal_part(text: str) -> Item:
    """A part that says no."""
    return {"type": "refusal", "refusal": text}


def response_usage(tokens: Tokens) -> dict[str, Any]:
    """The usage object of this dialect."""
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
    }
