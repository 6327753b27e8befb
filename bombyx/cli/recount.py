"""Counting the tokens of a transcript again, and what may honestly differ (docs/traffic-shape.md).

A model ends with a token that is not shown, and may cut a text into other tokens than its tokenizer
would: measured on SmolLM2 at temperatures up to 1.5, at most 2 in 500. So the text's own count plus
a small allowance bounds what a worker may have signed; 5 % more on 500 tokens lies far outside.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from bombyx.chat.assemble import Assembler
from bombyx.chat.size import count_images
from bombyx.chat.sse import DONE_DATA, SseDecoder
from bombyx.errors import BadAnswer, BombyxError
from bombyx.money.cost import Tokens
from bombyx.money.statement import TokenCounts

SLACK_PERMILLE = 10
LEAST_SLACK = 3
"""What another cut of the same text may add; below 300 tokens one per cent would be too little."""
CALL_MARKUP = 24
"""Tokens around a tool call that its parser removes: marks, JSON keys, braces."""
REASONING_MARKS = 8
MESSAGE_MARKUP = 16
"""Tokens that a template may put around one message, where the template itself is not at hand."""
_ENDED = frozenset({"stop", "tool_calls", "function_call"})


class Tokenizer(Protocol):
    """A model's tokenizer."""

    def count(self, text: str) -> int:
        """Tokens of a text, special ones neither added nor recognised."""
        ...

    def count_prompt(self, body: Mapping[str, Any]) -> int | None:
        """Tokens of the whole prompt, template included; None where there is no template."""
        ...


class Verdict(StrEnum):
    """What a recount comes to; the first that holds for any part holds for the whole."""

    OVERCOUNTED = "overcounted"
    CANNOT_TELL = "cannot_tell"
    FITS = "fits"


@dataclass(frozen=True, slots=True)
class Part:
    """One count: as signed, as found again, and the most that is honest; `why` explains it."""

    signed: int
    recounted: int | None
    most: int | None
    why: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the signed count can be honest."""
        if self.most is None:
            return Verdict.CANNOT_TELL
        return Verdict.FITS if self.signed <= self.most else Verdict.OVERCOUNTED


def read_answer(request: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """The whole `chat.completion` of a transcript; raises `BadAnswer`."""
    try:
        if not request.get("stream"):
            whole: dict[str, Any] = msgspec.json.decode(answer.encode(), type=dict[str, Any])
            return whole
        assembler = Assembler()
        for event in SseDecoder().feed(answer.encode()):
            if event.data != DONE_DATA:
                assembler.add(msgspec.json.decode(event.data, type=dict[str, Any]))
        return assembler.answer(Tokens())
    except (msgspec.DecodeError, RecursionError, BombyxError, AttributeError, TypeError):
        raise BadAnswer("the transcript holds no whole chat completion") from None


def recount_completion(
    request: Mapping[str, Any], answer: Mapping[str, Any], tokens: TokenCounts, of: Tokenizer
) -> Part:
    """The answer's tokens again, from all text that it shows."""
    texts = list(_texts(answer))
    thought = [text for kind, text in texts if kind == "reasoning_content"]
    if tokens.reasoning and not thought:
        why = "the answer's reasoning is not shown, and its tokens cannot be recounted"
        return Part(tokens.completion, None, None, (why,))
    found = sum(of.count(text) for _, text in texts)
    most, why_more = found + _slack(found), [f"{_slack(found)} for another cut of the same text"]
    for extra, reason in _unseen(request, answer, thought, of):
        most += extra
        why_more.append(f"{extra} for {reason}")
    return Part(tokens.completion, found, most, tuple(why_more))


def recount_prompt(
    request: Mapping[str, Any], tokens: TokenCounts, of: Tokenizer, *, overhead: int
) -> Part:
    """The prompt's tokens again; `overhead` is the model's attested bound for its template."""
    if count_images(request):
        return Part(tokens.prompt, None, None, ("tokens of images cannot be recounted",))
    exact = of.count_prompt(request)
    if exact is not None:
        return Part(tokens.prompt, exact, exact, ("the model's own template was applied",))
    texts = list(_prompt_texts(request))
    found = sum(map(of.count, texts))
    markup = overhead + MESSAGE_MARKUP * len(texts)
    return Part(tokens.prompt, found, found + markup, (f"{markup} for the unknown template",))


def _slack(found: int) -> int:
    return max(LEAST_SLACK, found * SLACK_PERMILLE // 1000)


def _messages(answer: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Any]]:
    for choice in _objects(answer.get("choices")):
        if isinstance(message := choice.get("message"), dict):
            yield message, choice.get("finish_reason")


def _texts(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for message, _ in _messages(answer):
        for name in ("content", "refusal", "reasoning_content"):
            if isinstance(text := message.get(name), str):
                yield name, text
        for call in _objects(message.get("tool_calls")):
            yield "call", msgspec.json.encode(call.get("function")).decode()


def _unseen(
    request: Mapping[str, Any], answer: Mapping[str, Any], thought: list[str], of: Tokenizer
) -> Iterator[tuple[int, str]]:
    """Tokens that a model makes and an answer does not show, at most."""
    messages = list(_messages(answer))
    if ended := sum(reason in _ENDED for _, reason in messages if isinstance(reason, str)):
        yield ended, "the token that ends each choice"
    if calls := sum(len(_objects(message.get("tool_calls"))) for message, _ in messages):
        yield calls * CALL_MARKUP, "the marks of tool calls"
    if thought:
        yield len(thought) * REASONING_MARKS, "the marks of reasoning"
    stop = request.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    if longest := max((of.count(one) for one in stops if isinstance(one, str)), default=0):
        yield longest * len(messages), "the stop sequence, which is cut off"


def _prompt_texts(request: Mapping[str, Any]) -> Iterator[str]:
    for message in _objects(request.get("messages")):
        content = message.get("content")
        if isinstance(content, str):
            yield content
        texts = (part.get("text") for part in _objects(content))
        yield from (text for text in texts if isinstance(text, str))
        if message.get("tool_calls"):
            yield msgspec.json.encode(message["tool_calls"]).decode()
    if request.get("tools"):
        yield msgspec.json.encode(request["tools"]).decode()


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; what is neither was written by somebody else and counts nothing."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
