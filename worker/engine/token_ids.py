"""The token ids of an answer, against which its counts are checked (SPEC 2.6, 6.5).

SGLang shows a chat's in one chunk after its end, and those of a completion on each chunk, as vLLM
does for both. They are counted and dropped; nobody else sees them.
"""

from collections.abc import Mapping
from typing import Any

from bombyx.errors import EngineFailed
from bombyx.money.cost import Tokens


class TokenIds:
    """Ids of one request, over all prompts and choices.

    `slack` is how many tokens per choice may be counted that had no id.
    """

    __slots__ = ("_choices", "_choices_per_prompt", "_output", "_prompts", "_slack")

    def __init__(self, choices_per_prompt: int, *, slack: int = 0) -> None:
        self._choices_per_prompt = choices_per_prompt
        self._slack = slack
        self._prompts: dict[int, int] = {}
        self._choices: set[int] = set()
        self._output = 0

    def observe(self, raw: Mapping[str, Any]) -> None:
        """Take one raw chunk."""
        shown = raw.get("sglext")
        if isinstance(shown, dict):
            self._observe_all(shown)
        for choice in raw.get("choices") or ():
            if isinstance(choice, dict) and type(index := choice.get("index", 0)) is int:
                self._observe_choice(index, choice, raw)

    def check(self, tokens: Tokens, *, must_show: bool) -> None:
        """Refuse final counts that the ids do not bear out; raises `EngineFailed`."""
        if not self._output and not self._prompts:
            if must_show:
                raise EngineFailed("the engine did not show its token ids")
            return
        prompt = sum(self._prompts.values())
        missing = tokens.completion - self._output
        is_prompt_right = not self._prompts or prompt == tokens.prompt
        if not is_prompt_right or not 0 <= missing <= self._slack * max(1, len(self._choices)):
            raise EngineFailed("the engine's counts are not those of its token ids")

    def _observe_all(self, shown: Mapping[str, Any]) -> None:
        prompt, outputs = shown.get("input_ids"), shown.get("output_ids")
        if isinstance(prompt, list):
            self._prompts[0] = len(prompt)
        if isinstance(outputs, list):
            self._output = sum(len(one) for one in outputs if isinstance(one, list))

    def _observe_choice(
        self, index: int, choice: Mapping[str, Any], raw: Mapping[str, Any]
    ) -> None:
        ids = choice.get("token_ids")
        if isinstance(ids, list):
            self._output += len(ids)
            self._choices.add(index)
        prompt = choice.get("prompt_token_ids") or raw.get("prompt_token_ids")
        if isinstance(prompt, list):
            self._prompts[index // self._choices_per_prompt] = len(prompt)
