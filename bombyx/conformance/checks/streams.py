"""Checks of a streamed chat answer: its events, its chunks, its end."""

from typing import Any

from bombyx.conformance.chat import (
    CHAT,
    COUNT,
    FINISH_REASONS,
    HELLO,
    ask_streamed,
    asking,
    put_together,
)
from bombyx.conformance.checks.chat import expect_usage
from bombyx.conformance.checks.models import expect_unix
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, at, expect, is_equal, maybe, shown

AREA = "streams"
USAGE = {"stream_options": {"include_usage": True}}
SLOW = "pace: 30\ncount: 12"
WORTH_JUDGING_SECONDS = 0.15
"""A whole answer faster than this tells nothing about buffers."""
LATEST_FIRST = 0.7
"""The part of the whole time after which a first event shows a buffer rather than a prompt."""


@check(AREA, "api-reference/chat-streaming")
async def a_stream_is_server_sent_events(server: Server) -> str:
    """Each event is one line of `data:` with JSON, and the content type says so."""
    stream, chunks = await ask_streamed(server, asking(HELLO))
    names = {event.event for event in stream.events}
    expect(names == {None}, f"chat events have no names, these do: {shown(names)}")
    expect(not any(b"\n" in event.data for event in stream.events), "an event has several lines")
    expect(bool(chunks), "there are no events")
    return f"{len(chunks)} events"


@check(AREA, "api-reference/chat/create#stream")
async def a_stream_ends_with_done(server: Server) -> str:
    """`data: [DONE]` comes once, and nothing after it."""
    stream, _ = await ask_streamed(server, asking(HELLO))
    done = [number for number, event in enumerate(stream.events, 1) if event.data == b"[DONE]"]
    expect(done == [len(stream.events)], f"[DONE] stands at {done} of {len(stream.events)} events")
    return "last"


@check(AREA, "api-reference/chat-streaming")
async def every_chunk_belongs_to_one_answer(server: Server) -> str:
    """All chunks are `chat.completion.chunk` with the same id, date and model."""
    _, chunks = await ask_streamed(server, asking(HELLO, **USAGE))
    for chunk in chunks:
        is_equal(chunk, "object", to="chat.completion.chunk")
        expect_unix(chunk, "created")
    for name in ("id", "created", "model"):
        values = {at(chunk, name, kind=int if name == "created" else str) for chunk in chunks}
        expect(len(values) == 1, f"`{name}` changes in mid-stream: {shown(values)}")
    return f"{len(chunks)} chunks"


@check(AREA, "api-reference/chat-streaming")
async def the_role_comes_first(server: Server) -> str:
    """The first delta says `assistant`, and the texts after it make the answer."""
    _, chunks = await ask_streamed(server, asking(HELLO))
    is_equal(chunks[0], "choices", 0, "delta", "role", to="assistant")
    expect(put_together(chunks)[0].text != "", "the deltas hold no text")
    return "assistant"


@check(AREA, "api-reference/chat-streaming")
async def each_choice_ends_once(server: Server) -> str:
    """Each choice has exactly one finish reason, and no content after it."""
    _, chunks = await ask_streamed(server, asking(HELLO, **USAGE))
    for index, told in put_together(chunks).items():
        reasons = told.finish_reasons
        expect(len(reasons) == 1, f"choice {index} has the finish reasons {reasons}")
        expect(reasons[0] in FINISH_REASONS, f"the finish reason is {shown(reasons[0])}")
        expect(not told.deltas_after_finish, f"choice {index} goes on after its end")
    return "once"


@check(AREA, "api-reference/chat/create#stream_options")
async def usage_comes_in_the_last_chunk(server: Server) -> str:
    """With `include_usage` the last chunk has no choices and all counts; those before have none."""
    _, chunks = await ask_streamed(server, asking(HELLO, **USAGE))
    *before, last = chunks
    is_equal(last, "choices", to=[])
    early = [chunk for chunk in before if maybe(chunk, "usage") is not None]
    expect(not early, f"{len(early)} chunks before the last have a usage")
    return expect_usage(at(last, "usage", kind=dict))


@check(AREA, "api-reference/chat/create#stream_options")
async def usage_comes_only_when_asked_for(server: Server) -> str:
    """Without `include_usage` no chunk is without choices: programs read `choices[0]` of each."""
    _, chunks = await ask_streamed(server, asking(HELLO))
    for chunk in chunks:
        expect(bool(at(chunk, "choices", kind=list)), "a chunk has no choices")
        expect(maybe(chunk, "usage") is None, "a chunk has a usage that nobody asked for")
    return "none"


@check(AREA, "api-reference/chat/object")
async def streamed_tokens_are_counted_alike(server: Server) -> str:
    """The same request costs the same prompt tokens, streamed or whole."""
    whole = (await server.post(CHAT, asking(HELLO))).ok()
    _, chunks = await ask_streamed(server, asking(HELLO, **USAGE))
    counts = [at(one, "usage", "prompt_tokens", kind=int) for one in (whole, chunks[-1])]
    expect(counts[0] == counts[1], f"{counts[0]} prompt tokens whole, {counts[1]} streamed")
    return f"{counts[0]} both times"


@check(AREA, "WHATWG HTML section 9.2, on UTF-8")
async def letters_are_never_torn(server: Server) -> str:
    """Letters of several bytes are whole within their events."""
    text = "naïve 漢字 🐝🦋"
    stream, chunks = await ask_streamed(server, asking(f"say: {text}"))
    said = put_together(chunks)[0].text
    expect(
        "\ufffd" not in said and b"\xef\xbf\xbd" not in stream.answer.content, "a letter is torn"
    )
    expect(not _has_half(said), "half of a surrogate pair came alone")
    if "🦋" not in said:
        raise Lacks("the model said something else")
    return text


def _has_half(text: str) -> bool:
    return any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)  # noqa: PLR2004 - Unicode's


@check(AREA, "api-reference/chat/create#stream")
async def a_stream_is_not_held_back(server: Server) -> str:
    """Events come while the answer is made, not all together at its end."""
    stream, _ = await ask_streamed(server, asking(SLOW))
    first, last = stream.seconds[0], stream.seconds[-1]
    if last < WORTH_JUDGING_SECONDS:
        raise Lacks(f"the whole answer took {last * 1000:.0f} ms: too short to tell")
    moments = len({round(second, 2) for second in stream.seconds})
    expect(first < last * LATEST_FIRST or moments > 2, "all events came at the end")  # noqa: PLR2004
    return f"first after {first * 1000:.0f} ms, last after {last * 1000:.0f} ms"


@check(AREA, "guides/error-codes")
async def a_bad_request_is_refused_before_the_stream(server: Server) -> str:
    """A streamed request that is wrong gets a status and an error, not an event stream."""
    body: dict[str, Any] = {"messages": "none", "stream": True}
    error = (await server.post(CHAT, body)).error(400, 422)
    return shown(error["message"])


@check(AREA, "api-reference/chat/create#max_completion_tokens")
async def a_cut_stream_ends_in_length(server: Server) -> str:
    """A stream that meets its limit says `length`."""
    _, chunks = await ask_streamed(server, asking(COUNT, max_tokens=3))
    reasons = put_together(chunks)[0].finish_reasons
    expect(reasons == ["length"], f"the finish reasons are {reasons}")
    return "length"
