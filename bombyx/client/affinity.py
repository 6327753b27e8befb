"""Which requests begin alike (SPEC 12): what a worker may have in its prefix cache already.

A conversation is known again by its tools, its instructions and its first question, which stay
while it grows. The digest of these never leaves the client; the header names one of 16 shards.
"""

from typing import Any

import msgspec

from bombyx.chat.body import Body

_INSTRUCTIONS = ("instructions", "system")
_PROMPT_CHARACTERS = 1024
"""Of a prompt without messages, which grows at its end."""

_encoder = msgspec.json.Encoder(order="sorted")


def beginning(body: Body) -> bytes:
    """The bytes that requests of one conversation have in common."""
    told = body.get("messages", body.get("input"))
    messages = told if isinstance(told, list) else [] if told is None else [told]
    users = (at for at, one in enumerate(messages) if _role(one) == "user")
    first = next(users, len(messages))
    shared = {"model": body.get("model"), "tools": body.get("tools")}
    shared |= {name: body[name] for name in _INSTRUCTIONS if name in body}
    if isinstance(prompt := body.get("prompt"), str):
        shared["prompt"] = prompt[:_PROMPT_CHARACTERS]
    return _encoder.encode({**shared, "messages": messages[: first + 1]})


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None
