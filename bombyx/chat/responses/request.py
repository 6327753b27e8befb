"""A Responses request as a chat completion.

Nothing is kept between requests: what refers to an earlier answer, a file or a prompt that OpenAI
would hold is refused, and `store` is answered false.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.allow_list import under_own_names
from bombyx.chat.allowed import Allowed
from bombyx.chat.body import Body
from bombyx.chat.fields import Checker, require
from bombyx.chat.responses.items import messages_of
from bombyx.errors import RequestError, UnsupportedValue
from bombyx.units import MAX_SAFE_INTEGER

INCLUDABLE = frozenset({"message.output_text.logprobs", "reasoning.encrypted_content"})
"""Encrypted reasoning is asked for by clients that keep no state; ours comes in clear instead."""


def _nothing(what: str) -> Checker:
    def check(name: str, value: Any) -> None:  # noqa: ARG001 (a checker's signature)
        raise UnsupportedValue(f"{name} {what}", param=name)

    return check


def _object(name: str, value: Any) -> None:
    require(isinstance(value, dict), name, f"{name} is an object")


def _include(name: str, value: Any) -> None:
    known = isinstance(value, list) and all(isinstance(one, str) for one in value)
    require(known, name, f"{name} is a list of strings")
    if not INCLUDABLE.issuperset(value):
        raise UnsupportedValue(f"{name} names what is not made here", param=name)


_NOT_KEPT = "refers to what is not kept here: send the whole conversation"

RESPONSES = Allowed(
    passed={
        "model": fields.text,
        "input": fields.anything,
        "instructions": fields.string,
        "max_output_tokens": fields.integer(1, MAX_SAFE_INTEGER),
        "stream": fields.boolean,
        "temperature": fields.number(0, 2),
        "top_p": fields.number(0, 1),
        "top_logprobs": fields.integer(0, fields.MAX_TOP_LOGPROBS),
        "frequency_penalty": fields.number(-2, 2),
        "presence_penalty": fields.number(-2, 2),
        "parallel_tool_calls": fields.boolean,
        "include": _include,
        "reasoning": _object,
        "text": _object,
        "tools": fields.items,
        "tool_choice": fields.anything,
    },
    checked={
        "background": fields.off,
        "context_management": fields.only([]),
        "conversation": _nothing(_NOT_KEPT),
        "previous_response_id": _nothing(_NOT_KEPT),
        "prompt": _nothing(_NOT_KEPT),
        "stream_options": _object,
        "truncation": fields.only("disabled"),
    },
    ignored=frozenset(
        {
            "max_tool_calls",
            "metadata",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
        }
    ),
)

_SAME = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "parallel_tool_calls",
)


def admit_response(body: Mapping[str, Any]) -> Body:
    """The chat completion that answers it; raises as `surface.admit` does."""
    taken = RESPONSES.take(body)
    messages = messages_of(taken.get("input"))
    if taken.get("instructions"):
        messages.insert(0, {"role": "system", "content": taken["instructions"]})
    chat: Body = {name: taken[name] for name in _SAME if name in taken}
    chat["messages"] = messages
    if "max_output_tokens" in taken:
        chat["max_tokens"] = taken["max_output_tokens"]
    chat |= _logprobs(taken) | _tools(taken) | _format(taken.get("text") or {})
    effort = (taken.get("reasoning") or {}).get("effort")
    if effort is not None:
        chat["reasoning_effort"] = effort
    return under_own_names(chat, _NAMES)


_NAMES = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning",
    "response_format": "text",
}


def _logprobs(taken: Body) -> Body:
    if "message.output_text.logprobs" not in taken.get("include", ()):
        return {}
    return {"logprobs": True, "top_logprobs": taken.get("top_logprobs", 0)}


def _tools(taken: Body) -> Body:
    tools = [_function(one) for one in taken.get("tools", ())]
    choice = taken.get("tool_choice")
    allowed = choice if isinstance(choice, dict) else {}
    if allowed.get("type") == "allowed_tools":
        names = _names(allowed.get("tools"))
        tools = [one for one in tools if one["function"].get("name") in names]
        choice = allowed.get("mode", "auto")
    elif allowed.get("type") == "function":
        choice = {"type": "function", "function": {"name": allowed.get("name")}}
    made: Body = {"tools": tools} if tools else {}
    if choice is not None:
        made["tool_choice"] = choice
    return made


def _names(value: Any) -> list[Any]:
    tools = value if isinstance(value, list) else []
    return [one.get("name") for one in tools if isinstance(one, dict)]


def _function(tool: Any) -> Body:
    kind = tool.get("type") if isinstance(tool, dict) else None
    require(isinstance(kind, str), "tools", "each tool is an object with a type")
    if kind != "function":
        raise UnsupportedValue("tools are functions: nothing else is run here", param="tools")
    names = ("name", "description", "parameters", "strict")
    kept = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": kept}


def _format(text: Mapping[str, Any]) -> Body:
    wanted = text.get("format")
    if wanted is None:
        return {}
    if not isinstance(wanted, dict):
        raise RequestError("text.format is an object", param="text")
    if wanted.get("type") != "json_schema":
        return {"response_format": {"type": wanted.get("type")}}
    names = ("name", "description", "schema", "strict")
    holder = {name: wanted[name] for name in names if wanted.get(name) is not None}
    return {"response_format": {"type": "json_schema", "json_schema": holder}}
