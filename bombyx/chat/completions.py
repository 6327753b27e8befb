"""`/v1/completions`: a prompt as it is, without a template (SPEC 4.1)."""

from collections.abc import Mapping
from typing import Any

from bombyx.chat import fields
from bombyx.chat.allow_list import IGNORED, SAMPLING
from bombyx.chat.allowed import Allowed
from bombyx.chat.body import Body, request_head
from bombyx.chat.forms import OpenAIForm, include_usage
from bombyx.chat.paths import COMPLETIONS_PATH
from bombyx.errors import EngineFailed, UnsupportedValue
from bombyx.money.cost import Tokens

MAX_LOGPROBS = 5
"""OpenAI's own limit on this path."""

COMPLETIONS = Allowed(
    passed={
        **SAMPLING,
        "prompt": fields.text_or_tokens,
        "logprobs": fields.integer(0, MAX_LOGPROBS),
        "echo": fields.boolean,
    },
    checked={"best_of": fields.integer(1, 16), "suffix": fields.only("")},
    ignored=IGNORED,
)


def admit_completion(body: Mapping[str, Any]) -> Body:
    """The completion that an engine may get; raises as `surface.admit` does.

    `echo` is the form's business: engines do it each in a way of their own.
    """
    admitted = COMPLETIONS.take(body)
    fields.require("prompt" in admitted, "prompt", "prompt is a string, or token numbers")
    request_head(COMPLETIONS_PATH, admitted)
    if body.get("best_of") is not None and body["best_of"] != (body.get("n") or 1):
        raise UnsupportedValue("best_of can only be n: every answer is sent", param="best_of")
    if admitted.pop("echo", False):
        _check_echo(admitted)
    return admitted


def _check_echo(body: Body) -> None:
    if "logprobs" in body:
        raise UnsupportedValue("echo has no log probabilities here", param="echo")
    if not all(isinstance(one, str) for one in _prompts(body["prompt"])):
        raise UnsupportedValue("echo needs prompts of text", param="echo")


def _prompts(prompt: Any) -> list[Any]:
    return prompt if isinstance(prompt, list) else [prompt]


class CompletionForm(OpenAIForm):
    """As chat completions; with `echo` each choice begins with its prompt."""

    __slots__ = ("_choices_per_prompt", "_echoed", "_prompts")

    def __init__(self, asked: Body) -> None:
        super().__init__(include_usage=include_usage(asked))
        self._prompts: list[str] = _prompts(asked["prompt"]) if asked.get("echo") else []
        self._choices_per_prompt = asked.get("n") or 1
        self._echoed: set[int] = set()

    def chunk(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """One event."""
        return super().chunk(self._with_echo(payload), tokens)

    def whole(self, payload: Mapping[str, Any], tokens: Tokens) -> bytes:
        """The answer with its usage."""
        return super().whole(self._with_echo(payload), tokens)

    def _with_echo(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._prompts:
            return payload
        return {**payload, "choices": [self._begun(choice) for choice in payload["choices"]]}

    def _begun(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        index = choice["index"]
        if index in self._echoed:
            return choice
        self._echoed.add(index)
        prompt = self._prompts[index // self._choices_per_prompt]
        return {**choice, "text": prompt + choice["text"]}


class TextAssembler:
    """One `text_completion` out of its chunks."""

    __slots__ = ("_choices", "_head")

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take one chunk."""
        self._head = {name: value for name, value in chunk.items() if name != "choices"}
        for choice in chunk["choices"]:
            held = self._choices.setdefault(
                choice["index"],
                {"text": "", "index": choice["index"], "logprobs": None, "finish_reason": None},
            )
            held["text"] += choice["text"]
            held["finish_reason"] = choice["finish_reason"] or held["finish_reason"]
            held["logprobs"] = _joined(held["logprobs"], choice["logprobs"])

    def answer(self, tokens: Tokens) -> dict[str, Any]:  # noqa: ARG002 (as of a chat)
        """The whole answer; raises `EngineFailed` unless each choice has finished."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if not choices or any(one["finish_reason"] is None for one in choices):
            raise EngineFailed("the answer ended before it was finished")
        return {**self._head, "choices": choices}


def _joined(held: Any, more: Any) -> Any:
    if held is None or more is None:
        return more if held is None else held
    return {name: [*held[name], *more[name]] for name in held}


LEGACY_LOGPROBS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


def legacy_logprobs(content: Any, offset: int) -> dict[str, list[Any]]:
    """A chat's log probabilities in the older form; `offset` is where the choice's text stands.

    Raises `EngineFailed` for what is none.
    """
    made: dict[str, list[Any]] = {name: [] for name in LEGACY_LOGPROBS}
    try:
        for entry in content:
            made["tokens"].append(entry["token"])
            made["token_logprobs"].append(entry["logprob"])
            tops = entry.get("top_logprobs") or ()
            made["top_logprobs"].append({one["token"]: one["logprob"] for one in tops})
            made["text_offset"].append(offset)
            offset += len(entry["token"])
    except (AttributeError, KeyError, TypeError):
        raise EngineFailed("the engine's log probabilities cannot be read") from None
    return made
