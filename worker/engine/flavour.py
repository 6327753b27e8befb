"""What each kind of server takes beside OpenAI's fields, and what it can tell (SPEC 12)."""

from enum import StrEnum
from typing import Any

from bombyx.chat.body import Body
from bombyx.chat.paths import CHAT_PATH
from worker.engine.port import EngineRequest

_CHAT_IDS = ("return_input_ids_in_sglext", "return_output_ids_in_sglext")
_TEXT_IDS = ("return_token_ids",)


class Flavour(StrEnum):
    """Which server answers."""

    OPENAI = "openai"
    LLAMACPP = "llamacpp"
    SGLANG = "sglang"
    VLLM = "vllm"


USAGE_PER_CHOICE = frozenset({Flavour.SGLANG, Flavour.VLLM})
"""Their usage on a chunk of a choice is of that choice and its prompt; on one without, of all."""


def outgoing(request: EngineRequest, flavour: Flavour, *, model: str) -> dict[str, Any]:
    """The body for the server: always a stream, with usage as early as it can be had."""
    body: dict[str, Any] = {
        **request.body,
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if flavour is not Flavour.OPENAI:
        body["stream_options"]["continuous_usage_stats"] = True
    if flavour is Flavour.SGLANG:
        body |= {"rid": request.request_id, "cache_salt": request.cache_salt}
        # The usual name is refused for a chat that streams; its ids come in a chunk of their own.
        names = _CHAT_IDS if request.path == CHAT_PATH else _TEXT_IDS
        body |= dict.fromkeys(names, True)
    elif flavour is Flavour.VLLM:
        body |= {"request_id": request.request_id, "cache_salt": request.cache_salt}
        body |= dict.fromkeys(_TEXT_IDS, True)
    elif flavour is Flavour.LLAMACPP:
        # It knows no salt: slots would lend one payer's prefix to another.
        body |= {"cache_prompt": False, "timings_per_token": True}
    return body


def template_body(body: Body) -> dict[str, Any]:
    """The fields that shape a prompt."""
    names = ("messages", "tools", "tool_choice", "response_format", "chat_template_kwargs")
    return {name: body[name] for name in names if name in body}
