"""Cumulative counts of one request out of what servers say on the way (SPEC 1.4, 6.5).

Three sources, the largest wins: usage objects (SGLang and vLLM on every chunk, for its choice and
prompt; all servers at the end), llama.cpp's `timings` per choice, and the number of chunks that
carried text, which is a lower bound for servers that say nothing before the end.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.chat.body import MAX_CHOICES
from bombyx.chat.usage import UsageTally
from bombyx.money.cost import Tokens

_DETAILS = ("prompt_tokens_details", "completion_tokens_details", "reasoning_tokens")


class Counter:
    """Counts of one request over all its choices; every prompt has so many of them."""

    __slots__ = (
        "_choices_per_prompt",
        "_ended",
        "_is_per_choice",
        "_per_choice",
        "_per_prompt",
        "_tally",
    )

    def __init__(
        self, choices_per_prompt: int = MAX_CHOICES, *, is_per_choice: bool = False
    ) -> None:
        self._choices_per_prompt = choices_per_prompt
        self._is_per_choice = is_per_choice
        """Whether usage on a chunk with a choice counts that choice alone."""
        self._per_prompt: dict[int, int] = {}
        self._tally = UsageTally()
        self._per_choice: dict[int, int] = {}
        self._ended = 0

    def observe(self, raw: Mapping[str, Any]) -> Tokens:
        """Take one raw chunk; the counts so far."""
        choices, usage = raw.get("choices") or (), raw.get("usage")
        for choice in choices:
            self._observe_choice(choice, raw.get("timings"))
        if not isinstance(usage, dict):
            pass
        elif self._is_per_choice and choices:
            self._observe_choices_usage(choices, usage)
        else:
            self._observe_usage(usage, is_per_choice="timings" in raw)
        self._tally.observe({"completion_tokens": sum(self._per_choice.values())})
        return self._tally.tokens

    def _observe_choice(self, choice: Any, timings: Any) -> None:
        if not isinstance(choice, dict) or type(index := choice.get("index", 0)) is not int:
            return
        said = _says_something(choice.get("delta")) or bool(choice.get("text"))
        count = self._per_choice.get(index, 0) + said
        if isinstance(timings, dict):
            told = timings.get("predicted_n")
            count = max(count, told) if type(told) is int else count
            self._observe_prompt(index // self._choices_per_prompt, timings)
        self._per_choice[index] = count

    def _observe_choices_usage(self, choices: Any, usage: Mapping[str, Any]) -> None:
        index = choices[0].get("index", 0) if isinstance(choices[0], dict) else None
        count, prompt = usage.get("completion_tokens"), usage.get("prompt_tokens")
        if type(index) is not int or len(choices) != 1:
            return
        if type(count) is int:
            self._per_choice[index] = max(self._per_choice.get(index, 0), count)
        if type(prompt) is int:
            # What was cached is told with the totals, and for a chat's one prompt here too.
            self._add_prompt(index // self._choices_per_prompt, prompt)
        self._tally.observe({name: usage.get(name) for name in _DETAILS})

    def _observe_prompt(self, at: int, timings: Mapping[str, Any]) -> None:
        fresh, cached = timings.get("prompt_n"), timings.get("cache_n", 0)
        if type(fresh) is int and type(cached) is int:
            self._add_prompt(at, fresh + cached)

    def _add_prompt(self, at: int, count: int) -> None:
        if count > self._per_prompt.get(at, 0):
            self._per_prompt[at] = count
            self._tally.observe({"prompt_tokens": sum(self._per_prompt.values())})

    def _observe_usage(self, usage: Mapping[str, Any], *, is_per_choice: bool) -> None:
        if not is_per_choice:
            self._tally.observe(usage)
            return
        # llama.cpp ends each choice with a usage chunk of its own: completions add up, the prompt
        # is one. With a second choice its prefix shows as cached though nobody had it before.
        count = usage.get("completion_tokens")
        self._ended += count if type(count) is int else 0
        shared = {**usage, "completion_tokens": self._ended}
        if len(self._per_choice) > 1:
            shared.pop("prompt_tokens_details", None)
        self._tally.observe(shared)


def _says_something(delta: Any) -> bool:
    return isinstance(delta, dict) and any(
        delta.get(name) for name in ("content", "reasoning_content", "refusal", "tool_calls")
    )
