"""A Messages request as a chat completion."""

from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.allow_list import under_own_names
from bombyx.chat.allowed import Allowed
from bombyx.chat.anthropic.blocks import messages_of, system_of
from bombyx.chat.body import Body
from bombyx.chat.fields import require
from bombyx.errors import UnsupportedValue
from bombyx.units import MAX_SAFE_INTEGER


def _thinking(name: str, value: Any) -> None:
    kinds = ("enabled", "disabled", "adaptive")
    fits = isinstance(value, dict) and value.get("type") in kinds
    require(fits, name, f"{name} has type enabled, disabled or adaptive")


def _output(name: str, value: Any) -> None:
    fits = isinstance(value, dict) and value.keys() <= {"effort", "format"}
    require(fits, name, f"{name} takes effort and format")


MESSAGES = Allowed(
    passed={
        "model": fields.text,
        "messages": fields.anything,
        "system": fields.anything,
        "max_tokens": fields.integer(1, MAX_SAFE_INTEGER),
        "stop_sequences": fields.stop,
        "stream": fields.boolean,
        "temperature": fields.number(0, 1),
        "top_k": fields.integer(-1, 2**31 - 1),
        "top_p": fields.number(0, 1),
        "tools": fields.items,
        "tool_choice": fields.anything,
        "thinking": _thinking,
        "output_config": _output,
    },
    checked={
        "container": fields.only(),
        "context_management": fields.only(),
        "mcp_servers": fields.only([]),
    },
    ignored=frozenset({"cache_control", "inference_geo", "metadata", "service_tier"}),
)

_COUNTED = ("messages", "model", "output_config", "system", "thinking", "tool_choice", "tools")
COUNT = Allowed(
    passed={name: MESSAGES.passed[name] for name in _COUNTED},
    checked={name: MESSAGES.checked[name] for name in ("context_management", "mcp_servers")},
    ignored=frozenset({"cache_control"}),
)
"""Of a request for a count: what shapes a prompt."""

_SAME = ("model", "max_tokens", "stream", "temperature", "top_k", "top_p")
_NAMES = {
    "stop": "stop_sequences",
    "response_format": "output_config",
    "reasoning_effort": "output_config",
    "chat_template_kwargs": "thinking",
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def admit_messages_request(body: Mapping[str, Any]) -> Body:
    """The chat completion that answers it; raises as `surface.admit` does."""
    taken = MESSAGES.take(body)
    require("max_tokens" in taken, "max_tokens", "max_tokens is a positive integer")
    return _chat(taken)


def admit_count(body: Mapping[str, Any]) -> Body:
    """The chat completion whose prompt is to be counted; raises as `surface.admit` does."""
    return _chat(COUNT.take(body))


def count_answer(tokens: int) -> Body:
    """What a driver answers to a count."""
    return {"input_tokens": tokens}


def _chat(taken: Body) -> Body:
    chat: Body = {name: taken[name] for name in _SAME if name in taken}
    chat["messages"] = [*system_of(taken.get("system")), *messages_of(taken.get("messages"))]
    if taken.get("stop_sequences"):
        chat["stop"] = taken["stop_sequences"]
    if "thinking" in taken:
        is_on = taken["thinking"]["type"] != "disabled"
        # Templates differ in the name of their switch; each ignores the other's.
        chat["chat_template_kwargs"] = {"enable_thinking": is_on, "thinking": is_on}
    return under_own_names(chat | _tools(taken) | _output_of(taken), _NAMES)


def _tools(taken: Body) -> Body:
    told = [_function(one) for one in taken.get("tools", ())]
    made: Body = {"tools": told} if told else {}
    choice = taken.get("tool_choice")
    if choice is None:
        return made
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool":
        made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    else:
        chosen = _CHOICES.get(kind) if isinstance(kind, str) else None
        require(chosen, "tool_choice", "tool_choice has type auto, any, none or tool")
        made["tool_choice"] = chosen
    if choice.get("disable_parallel_tool_use") is not None:
        made["parallel_tool_calls"] = choice["disable_parallel_tool_use"] is not True
    return made


def _function(tool: Any) -> Body:
    require(isinstance(tool, dict), "tools", "each tool is an object")
    if tool.get("type") not in (None, "custom"):
        raise UnsupportedValue("tools are the client's own: nothing is run here", param="tools")
    kept = {name: tool[name] for name in ("name", "description") if tool.get(name) is not None}
    return {"type": "function", "function": {**kept, "parameters": tool.get("input_schema")}}


def _output_of(taken: Body) -> Body:
    config = taken.get("output_config") or {}
    made: Body = {}
    if config.get("effort") is not None:
        made["reasoning_effort"] = config["effort"]
    wanted = config.get("format")
    if wanted is not None:
        is_schema = isinstance(wanted, dict) and wanted.get("type") == "json_schema"
        require(is_schema, "output_config", "output_config.format has type json_schema")
        holder = {"name": "answer", "schema": wanted.get("schema"), "strict": True}
        made["response_format"] = {"type": "json_schema", "json_schema": holder}
    return made
