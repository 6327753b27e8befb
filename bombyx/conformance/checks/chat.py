"""Checks of a whole chat answer."""

from typing import Any

from bombyx.conformance.chat import (
    CHAT,
    FINISH_REASONS,
    HELLO,
    MOST_TOKENS,
    asking,
    first_message,
    text_of,
)
from bombyx.conformance.checks.models import expect_unix
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, Wrong, at, expect, is_equal, maybe, shown

AREA = "chat"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)
"""One red dot."""
NULLABLE = (
    "stop", "max_tokens", "temperature", "top_p", "n", "logit_bias", "stream", "stream_options",
    "frequency_penalty", "presence_penalty", "metadata",
)  # fmt: skip


@check(AREA, "api-reference/chat/object")
async def a_chat_answer_has_its_form(server: Server) -> str:
    """A whole answer is a `chat.completion` with an id, a date, the model and one message."""
    document = (await server.post(CHAT, asking(HELLO))).ok()
    is_equal(document, "object", to="chat.completion")
    expect(at(document, "id", kind=str) != "", "`id` is empty")
    at(document, "model", kind=str)
    expect_unix(document, "created")
    expect(len(at(document, "choices", kind=list)) == 1, "there is not exactly one choice")
    is_equal(document, "choices", 0, "index", to=0)
    is_equal(first_message(document), "role", to="assistant")
    expect(text_of(document) != "", "the message is empty")
    return "complete"


@check(AREA, "api-reference/chat/object")
async def a_chat_answer_says_why_it_ended(server: Server) -> str:
    """Each choice has one of OpenAI's finish reasons; a finished sentence has `stop`."""
    document = (await server.post(CHAT, asking(HELLO))).ok()
    reason: str = at(document, "choices", 0, "finish_reason", kind=str)
    expect(reason in FINISH_REASONS, f"the finish reason is {shown(reason)}")
    if reason == "length" and at(document, "usage", "completion_tokens", kind=int) >= MOST_TOKENS:
        raise Lacks("the model rambles")
    expect(reason == "stop", f"a finished answer ended with {reason}")
    return reason


@check(AREA, "api-reference/chat/object")
async def tokens_are_counted(server: Server) -> str:
    """`usage` counts prompt and completion, and the total is their sum."""
    usage = at((await server.post(CHAT, asking(HELLO))).ok(), "usage", kind=dict)
    return expect_usage(usage)


def expect_usage(usage: Any) -> str:
    """A `usage` of chat or completions; raises `Wrong`."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    prompt, completion, total = (at(usage, name, kind=int) for name in names)
    expect(prompt > 0 and completion > 0, f"tokens were not counted: {prompt} and {completion}")
    expect(prompt + completion == total, f"{prompt} + {completion} is not {total}")
    return f"{prompt} + {completion} = {total}"


@check(AREA, "api-reference/chat/object")
async def cached_and_reasoning_tokens_are_parts(server: Server) -> str:
    """Cached tokens lie within the prompt, reasoning tokens within the completion."""
    usage = at((await server.post(CHAT, asking(HELLO))).ok(), "usage", kind=dict)
    cached = maybe(usage, "prompt_tokens_details", "cached_tokens")
    reasoning = maybe(usage, "completion_tokens_details", "reasoning_tokens")
    if cached is None and reasoning is None:
        raise Lacks("`usage` has no details, which are optional")
    for name, part, of in (
        ("cached", cached or 0, at(usage, "prompt_tokens", kind=int)),
        ("reasoning", reasoning or 0, at(usage, "completion_tokens", kind=int)),
    ):
        expect(isinstance(part, int) and 0 <= part <= of, f"{shown(part)} {name} tokens of {of}")
    return f"{cached} cached, {reasoning} reasoning"


@check(AREA, "api-reference/chat/create#messages")
async def every_role_is_read(server: Server) -> str:
    """System, developer, user and assistant messages make one conversation."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Answer in English."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello. What shall I say?"},
        {"role": "user", "content": HELLO},
    ]
    text_of((await server.post(CHAT, {"messages": messages})).ok())
    return "answered"


@check(AREA, "api-reference/chat/create#messages")
async def content_may_come_in_parts(server: Server) -> str:
    """A message's content may be a list of text parts."""
    parts = [{"type": "text", "text": "Do as told."}, {"type": "text", "text": HELLO}]
    text_of((await server.post(CHAT, asking(parts))).ok())
    return "answered"


@check(AREA, "api-reference/chat/create")
async def null_is_as_if_absent(server: Server) -> str:
    """Nullable fields may be null, as serialisers of typed clients send them."""
    answer = await server.post(CHAT, asking(HELLO, **dict.fromkeys(NULLABLE)))
    text_of(answer.ok())
    return f"{len(NULLABLE)} fields"


@check(AREA, "api-reference/chat/create")
async def bookkeeping_fields_are_taken(server: Server) -> str:
    """Fields that only concern OpenAI's own books do not make a request fail."""
    fields = {"user": "someone", "store": False, "metadata": {"a": "b"}, "seed": 7}
    text_of((await server.post(CHAT, asking(HELLO, **fields))).ok())
    return ", ".join(fields)


@check(AREA, "guides/images-vision")
async def images_come_as_data_urls(server: Server) -> str:
    """A picture may come within the request, as a `data:` URL."""
    parts = [
        {"type": "text", "text": HELLO},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    answer = await server.post(CHAT, asking(parts))
    text_of(answer.if_served("pictures"))
    return "seen"


@check(AREA, "guides/reasoning")
async def reasoning_is_asked_for_and_counted(server: Server) -> str:
    """`reasoning_effort` is taken, and whoever shows thoughts counts them."""
    body = asking(f"think: 3\n{HELLO}", reasoning_effort="low")
    document = (await server.post(CHAT, body)).if_served("reasoning")
    thoughts = maybe(first_message(document), "reasoning_content")
    counted = maybe(document, "usage", "completion_tokens_details", "reasoning_tokens") or 0
    expect(not thoughts or counted > 0, "there are thoughts and no reasoning tokens")
    if not counted:
        raise Lacks("the model did not think")
    expect(text_of(document) != thoughts, "the thoughts are the answer")
    return f"{counted} tokens"


@check(AREA, "RFC 8259 section 8.1, on UTF-8")
async def text_of_any_script_survives(server: Server) -> str:
    """Letters of every length in UTF-8 come back as they were sent."""
    text = "naïve 漢字 🐝"
    document = (await server.post(CHAT, asking(f"say: {text}"))).ok()
    said = text_of(document)
    if "\ufffd" in said or "Ã" in said:
        raise Wrong(f"the text is garbled: {shown(said)}")
    if "🐝" not in said:
        raise Lacks("the model said something else")
    expect(text in said, f"the text came back as {shown(said)}")
    return text
