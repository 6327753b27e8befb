"""What checks of chat share: bodies to ask with, and a streamed answer put together.

Prompts are plain requests that any model understands; the scripted engine takes their lines for
commands and obeys to the letter.
"""

from dataclasses import dataclass, field
from typing import Any

from bombyx.conformance.server import Server, Stream
from bombyx.conformance.verdict import at, expect, maybe, shown

CHAT = "/chat/completions"
FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
HELLO = "say: hello there"
COUNT = "count: 20"
MOST_TOKENS = 512
"""What a small model that rambles is cut at, and one that thinks before it answers still has."""


def asking(content: Any, **fields: Any) -> dict[str, Any]:
    """A chat body of one user message, which bounds its answer unless `fields` do."""
    bound = {} if "max_tokens" in fields else {"max_completion_tokens": MOST_TOKENS}
    return {"messages": [{"role": "user", "content": content}], **bound, **fields}


def first_message(document: Any) -> Any:
    """The message of the first choice; raises `Wrong`."""
    return at(document, "choices", 0, "message", kind=dict)


def text_of(document: Any) -> str:
    """The text of the first choice; raises `Wrong`."""
    text: str = at(first_message(document), "content", kind=str)
    return text


@dataclass(slots=True)
class Told:
    """One choice of a streamed answer."""

    text: str = ""
    reasoning: str = ""
    finish_reasons: list[str] = field(default_factory=list)
    deltas_after_finish: int = 0
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    logprobs: list[Any] = field(default_factory=list)


async def ask_streamed(server: Server, body: dict[str, Any]) -> tuple[Stream, list[Any]]:
    """A streamed chat answer and its chunks; raises `Wrong` unless it is one."""
    stream = await server.stream(CHAT, body)
    expect_stream(stream)
    return stream, stream.documents()


def expect_stream(stream: Stream) -> None:
    """The answer is 200 with server-sent events; raises `Wrong`."""
    answer = stream.answer
    expect(answer.status == 200, f"status {answer.status} instead of 200{answer.reason()}")  # noqa: PLR2004
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    expect(media_type == "text/event-stream", f"the content type is {shown(media_type)}")


def put_together(chunks: list[Any]) -> dict[int, Told]:
    """Every choice by its index; raises `Wrong` for chunks that are none."""
    choices: dict[int, Told] = {}
    for chunk in chunks:
        expect(maybe(chunk, "error") is None, f"the stream broke: {shown(maybe(chunk, 'error'))}")
        for choice in at(chunk, "choices", kind=list):
            told = choices.setdefault(at(choice, "index", kind=int), Told())
            _take(told, choice)
    expect(bool(choices), "the stream holds no choice")
    return choices


def _take(told: Told, choice: Any) -> None:
    delta = at(choice, "delta", kind=dict)
    text = maybe(delta, "content") or ""
    expect(isinstance(text, str), f"`delta.content` is {shown(text)}")
    told.deltas_after_finish += bool(told.finish_reasons and (text or maybe(delta, "tool_calls")))
    told.text += text
    told.reasoning += maybe(delta, "reasoning_content") or ""
    told.logprobs += maybe(choice, "logprobs", "content") or []
    for call in maybe(delta, "tool_calls") or []:
        _take_call(told.calls, call)
    if (reason := maybe(choice, "finish_reason")) is not None:
        told.finish_reasons.append(reason)


def _take_call(calls: dict[int, dict[str, str]], delta: Any) -> None:
    """A piece of a call: id and name come once, with the first."""
    index = at(delta, "index", kind=int)
    if index not in calls:
        name = at(delta, "function", "name", kind=str)
        calls[index] = {"id": at(delta, "id", kind=str), "name": name, "arguments": ""}
    else:
        again = maybe(delta, "id") or calls[index]["id"]
        expect(again == calls[index]["id"], f"call {index} changes its id in mid-stream")
    calls[index]["arguments"] += maybe(delta, "function", "arguments") or ""
