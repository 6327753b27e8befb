"""The fields of a chat completion (SPEC 4.1), and those that all ways of generating share."""

from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.allowed import Allowed
from bombyx.chat.body import MAX_CHOICES, Body, request_head
from bombyx.chat.fields import Checker
from bombyx.chat.messages import admit_messages
from bombyx.chat.paths import CHAT_PATH
from bombyx.errors import RequestError
from bombyx.units import MAX_SAFE_INTEGER

SAMPLING: Mapping[str, Checker] = {
    "model": fields.text,
    "max_tokens": fields.integer(1, MAX_SAFE_INTEGER),
    "n": fields.integer(1, MAX_CHOICES),
    "stream": fields.boolean,
    "stream_options": fields.stream_options,
    "temperature": fields.number(0, 2),
    "top_p": fields.number(0, 1),
    "top_k": fields.integer(-1, 2**31 - 1),
    "min_p": fields.number(0, 1),
    "frequency_penalty": fields.number(-2, 2),
    "presence_penalty": fields.number(-2, 2),
    "logit_bias": fields.logit_bias,
    "seed": fields.integer(-(2**63), 2**63 - 1),
    "stop": fields.stop,
}

PASSED: Mapping[str, Checker] = {
    **SAMPLING,
    "max_completion_tokens": fields.integer(1, MAX_SAFE_INTEGER),
    "logprobs": fields.boolean,
    "top_logprobs": fields.integer(0, fields.MAX_TOP_LOGPROBS),
    "reasoning_effort": fields.effort,
    "tools": fields.tools,
    "tool_choice": fields.tool_choice,
    "parallel_tool_calls": fields.boolean,
    "response_format": fields.response_format,
    "chat_template_kwargs": fields.template_switches,
}

IGNORED = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)
"""Accepted without effect: hints to other services, and names of people, which stay here."""

CHAT = Allowed(
    passed=PASSED,
    # Messages are read by their own rules, below.
    checked={"modalities": fields.only_text, "messages": fields.anything},
    ignored=IGNORED,
)


def admit_chat(body: Mapping[str, Any]) -> Body:
    """The chat completion that an engine may get, each field checked; null counts as absent.

    Raises `UnsupportedParameter` for a field that nothing here honours, `RequestError` or
    `UnsupportedValue` for a wrong one.
    """
    admitted = CHAT.take(body)
    request_head(CHAT_PATH, admitted)
    admitted["messages"] = admit_messages(body.get("messages"))
    _check_pairs(admitted)
    return admitted


def under_own_names(chat: Mapping[str, Any], names: Mapping[str, str]) -> Body:
    """`admit_chat` for a translated body: errors name the fields that the client wrote."""
    try:
        return admit_chat(chat)
    except RequestError as error:
        named = names.get(error.param or "", error.param)
        raise type(error)(error.message, param=named) from None


def _check_pairs(body: Body) -> None:
    if "top_logprobs" in body and not body.get("logprobs"):
        raise RequestError("top_logprobs needs logprobs", param="top_logprobs")
    if body.get("tool_choice", "none") not in ("none", "auto") and not body.get("tools"):
        raise RequestError("tool_choice needs tools", param="tool_choice")
