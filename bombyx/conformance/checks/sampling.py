"""Checks of the fields that shape an answer: limits, stops, choices, probabilities."""

from typing import Any

from bombyx.conformance.chat import (
    CHAT,
    COUNT,
    HELLO,
    ask_streamed,
    asking,
    put_together,
    text_of,
)
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import at, expect, is_equal

AREA = "sampling"
FEW = 3
LEAST_BRIEF = 16
"""Some servers take no smaller `max_completion_tokens`."""
STOP = "5"


@check(AREA, "api-reference/chat/create#max_tokens")
async def max_tokens_is_kept(server: Server) -> str:
    """`max_tokens` ends an answer with `length`, and no more are counted."""
    return expect_cut((await server.post(CHAT, asking(COUNT, max_tokens=FEW))).ok(), FEW)


@check(AREA, "api-reference/chat/create#max_completion_tokens")
async def max_completion_tokens_is_kept(server: Server) -> str:
    """`max_completion_tokens` does the same."""
    body = asking("count: 50", max_completion_tokens=LEAST_BRIEF)
    document = (await server.post(CHAT, body)).if_served("max_completion_tokens")
    return expect_cut(document, LEAST_BRIEF)


def expect_cut(document: Any, most: int) -> str:
    """An answer that met its limit; raises `Wrong`."""
    is_equal(document, "choices", 0, "finish_reason", to="length")
    counted: int = at(document, "usage", "completion_tokens", kind=int)
    expect(counted <= most, f"{counted} tokens were counted, {most} allowed")
    return f"{counted} tokens"


@check(AREA, "api-reference/chat/create#stop")
async def a_stop_sequence_ends_the_answer(server: Server) -> str:
    """The answer ends before a stop sequence, with `stop`, and does not hold it."""
    for stop in (STOP, ["never said", STOP]):
        document = (await server.post(CHAT, asking(COUNT, stop=stop))).ok()
        expect(STOP not in text_of(document), "the answer holds the stop sequence")
        is_equal(document, "choices", 0, "finish_reason", to="stop")
    return "as string and list"


@check(AREA, "api-reference/chat/create#n")
async def n_choices_are_made(server: Server) -> str:
    """`n` choices have the indices from 0 on."""
    document = (await server.post(CHAT, asking(HELLO, n=2))).if_served("n")
    indices = sorted(at(one, "index", kind=int) for one in at(document, "choices", kind=list))
    expect(indices == [0, 1], f"the choices are {indices}")
    return "2"


@check(AREA, "api-reference/chat/create#n")
async def n_choices_are_streamed(server: Server) -> str:
    """Streamed choices each have their own text and their own end."""
    body = asking(HELLO, n=2)
    (await server.post(CHAT, body)).if_served("n")
    _, chunks = await ask_streamed(server, body)
    choices = put_together(chunks)
    expect(sorted(choices) == [0, 1], f"the choices are {sorted(choices)}")
    for index, told in choices.items():
        expect(told.text != "", f"choice {index} is empty")
        expect(len(told.finish_reasons) == 1, f"choice {index} ends {told.finish_reasons}")
    return "2"


@check(AREA, "api-reference/chat/create#logprobs")
async def log_probabilities_are_given(server: Server) -> str:
    """Each token has its log probability, its bytes, and as many others as were asked for."""
    body = asking(HELLO, logprobs=True, top_logprobs=2)
    document = (await server.post(CHAT, body)).if_served("logprobs")
    entries = at(document, "choices", 0, "logprobs", "content", kind=list)
    expect_logprobs(entries, text_of(document))
    return f"{len(entries)} tokens"


@check(AREA, "api-reference/chat-streaming")
async def log_probabilities_are_streamed(server: Server) -> str:
    """Streamed deltas carry those of their tokens."""
    body = asking(HELLO, logprobs=True, top_logprobs=2)
    (await server.post(CHAT, body)).if_served("logprobs")
    _, chunks = await ask_streamed(server, body)
    told = put_together(chunks)[0]
    expect_logprobs(told.logprobs, told.text)
    return f"{len(told.logprobs)} tokens"


def expect_logprobs(entries: list[Any], text: str) -> None:
    """Entries of the tokens of a text; raises `Wrong`."""
    expect(bool(entries), "there are no log probabilities")
    for entry in entries:
        at(entry, "token", kind=str)
        expect(at(entry, "logprob", kind=float) <= 0, "a log probability is above 0")
        top = at(entry, "top_logprobs", kind=list)
        expect(len(top) <= 2, f"{len(top)} alternatives, 2 were asked for")  # noqa: PLR2004
        for other in top:
            at(other, "token", kind=str)
            at(other, "logprob", kind=float)
    joined = "".join(entry["token"] for entry in entries)
    # A model's end or the markers of its template may be tokens of their own.
    expect(text.strip() in joined, "the tokens do not make the text")
