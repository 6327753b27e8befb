"""Token counts out of and into OpenAI's usage object (SPEC 1.4, 12)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bombyx.errors import EngineFailed
from bombyx.money.cost import Tokens
from bombyx.units import MAX_SAFE_INTEGER

CACHE_GRAIN = 64
"""Cached tokens are billed and shown in such steps: exact ones would tell of prefixes (SPEC 12)."""


class UsageTally:
    """The largest of each counter seen so far; engines send them cumulatively, some never twice."""

    __slots__ = ("_cached", "_completion", "_prompt", "_reasoning")

    def __init__(self) -> None:
        self._prompt = self._cached = self._completion = self._reasoning = 0

    def observe(self, usage: Mapping[str, Any]) -> None:
        """Take an OpenAI-like usage object; what is missing or no count is passed over."""
        self._prompt = max(self._prompt, _count(usage, "prompt_tokens"))
        self._completion = max(self._completion, _count(usage, "completion_tokens"))
        cached = _count(usage.get("prompt_tokens_details"), "cached_tokens")
        self._cached = max(self._cached, cached)
        # SGLang keeps it beside the counters, OpenAI inside the details.
        reasoning = _count(usage.get("completion_tokens_details"), "reasoning_tokens")
        self._reasoning = max(self._reasoning, reasoning, _count(usage, "reasoning_tokens"))

    @property
    def tokens(self) -> Tokens:
        """The counts so far, with the parts held within their wholes."""
        return Tokens(
            prompt=self._prompt,
            cached=min(self._cached, self._prompt),
            completion=self._completion,
            reasoning=min(self._reasoning, self._completion),
        )


def _count(fields: Any, name: str) -> int:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if type(value) is int and 0 <= value <= MAX_SAFE_INTEGER else 0


def billable(tokens: Tokens) -> Tokens:
    """The counts as they are billed, signed and shown: cached rounded down to `CACHE_GRAIN`."""
    return replace(tokens, cached=tokens.cached - tokens.cached % CACHE_GRAIN)


def check_tokens(tokens: Tokens, *, max_input: int, max_output: int) -> None:
    """Refuse counts that the request's own limits rule out; raises `EngineFailed`."""
    if tokens.prompt > max_input:
        raise EngineFailed("the engine counts more prompt tokens than the request can have")
    if tokens.completion > max_output:
        raise EngineFailed("the engine counts more output tokens than it was allowed")


def openai_usage(tokens: Tokens) -> dict[str, Any]:
    """OpenAI's usage object, both details always present (clients read them unasked)."""
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }
