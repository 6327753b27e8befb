"""The scripted engine's tokenizer and chat template: one token is one word with its leading space.

A token has at least one byte, so `bytes_factor` 1 bounds it.
"""

import re
from typing import Any

from bombyx.chat.body import Body, encode_body
from bombyx.chat.size import count_images

TOKENS_PER_IMAGE = 16
_TOKEN = re.compile(r"\s*\S+|\s+\Z")


def tokenise(text: str) -> list[str]:
    """The tokens; joined they are the text again."""
    return _TOKEN.findall(text)


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, its parts on lines of their own."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def prompt_tokens(body: Body) -> list[str]:
    """The whole prompt as the engine sees it: role marks, text, calls, tools and image slots."""
    tokens: list[str] = []
    for message in body["messages"]:
        tokens.append(f"<{message['role']}>")
        tokens += tokenise(text_of(message))
        for call in message.get("tool_calls") or ():
            tokens += tokenise(f"{call['function']['name']} {call['function']['arguments']}")
    if body.get("tools"):
        tokens += tokenise(encode_body({"tools": body["tools"]}).decode())
    tokens += ["<image>"] * (TOKENS_PER_IMAGE * count_images(body))
    return [*tokens, "<assistant>"]
