"""Which request fields reach an engine (SPEC 4.1): an allow-list, never a deny-list.

Four groups: passed on after a check of their shape; known and without effect here; private to
engines and dropped, since they reach into other requests (`rid`, `cache_salt`, `priority`), around
the meter (`ignore_eos`, `input_ids`) or run code; and everything else, which is refused by name so
that nobody believes a setting took effect.
"""

import re
from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.body import CHAT_PATH, MAX_CHOICES, Body, request_head
from bombyx.chat.fields import Checker
from bombyx.chat.messages import admit_messages
from bombyx.errors import NotFound, RequestError, UnsupportedParameter
from bombyx.units import MAX_SAFE_INTEGER

PASSED: Mapping[str, Checker] = {
    "model": fields.text,
    "max_tokens": fields.integer(1, MAX_SAFE_INTEGER),
    "max_completion_tokens": fields.integer(1, MAX_SAFE_INTEGER),
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
    "logprobs": fields.boolean,
    "top_logprobs": fields.integer(0, fields.MAX_TOP_LOGPROBS),
    "seed": fields.integer(-(2**63), 2**63 - 1),
    "stop": fields.stop,
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

DROPPED = frozenset(
    {
        "bootstrap_host",
        "bootstrap_port",
        "bootstrap_room",
        "cache_prompt",
        "cache_salt",
        "custom_logit_processor",
        "custom_params",
        "data_parallel_rank",
        "extra_key",
        "id_slot",
        "ignore_eos",
        "images_config",
        "input_ids",
        "lora_path",
        "priority",
        "return_hidden_states",
        "return_input_ids_in_sglext",
        "return_meta_info",
        "return_output_ids_in_sglext",
        "return_prompt_token_ids",
        "return_routed_experts",
        "return_token_ids",
        "rid",
        "routed_dp_rank",
        "session_id",
        "session_params",
    }
)
"""Private to engines: the worker's own business, dropped without a word as gateways do."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def admit(path: str, body: Mapping[str, Any]) -> Body:
    """The body that an engine may get, each field checked; null counts as absent.

    Raises `NotFound` for another path, `UnsupportedParameter` for a field that nothing here
    honours, `RequestError` or `UnsupportedValue` for a wrong one.
    """
    if path != CHAT_PATH:
        raise NotFound("this path is not served")
    admitted = {name: value for name, value in body.items() if _is_passed(name, value)}
    request_head(path, admitted)
    admitted["messages"] = admit_messages(body.get("messages"))
    _check_pairs(admitted)
    return admitted


def _is_passed(name: str, value: Any) -> bool:
    if value is None or name in IGNORED or name in DROPPED or name == "messages":
        return False
    if name == "modalities":
        fields.only_text(name, value)
        return False
    checker = PASSED.get(name)
    if checker is None:
        # A field's name is the client's text too: repeated only where it looks like a name.
        shown = name if _SAFE_NAME.fullmatch(name) else None
        raise UnsupportedParameter(f"{shown or 'a field'} is not supported here", param=shown)
    checker(name, value)
    return True


def _check_pairs(body: Body) -> None:
    if "top_logprobs" in body and not body.get("logprobs"):
        raise RequestError("top_logprobs needs logprobs", param="top_logprobs")
    if body.get("tool_choice", "none") not in ("none", "auto") and not body.get("tools"):
        raise RequestError("tool_choice needs tools", param="tool_choice")
