"""Checks of `/completions`, the older endpoint without a conversation."""

from bombyx.conformance.chat import expect_stream
from bombyx.conformance.checks.chat import expect_usage
from bombyx.conformance.checks.models import expect_unix
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import at, expect, is_equal, maybe

AREA = "completions"
PATH = "/completions"
PROMPT = "say: a b c"


@check(AREA, "api-reference/completions/object")
async def a_completion_has_its_form(server: Server) -> str:
    """A whole answer is a `text_completion` with text, finish reason and counts."""
    answer = await server.post(PATH, {"prompt": PROMPT, "max_tokens": 16})
    document = answer.if_served("completions")
    is_equal(document, "object", to="text_completion")
    at(document, "id", kind=str)
    expect_unix(document, "created")
    is_equal(document, "choices", 0, "index", to=0)
    at(document, "choices", 0, "text", kind=str)
    reason = at(document, "choices", 0, "finish_reason", kind=str)
    expect(reason in {"stop", "length"}, f"the finish reason is {reason}")
    return expect_usage(at(document, "usage", kind=dict))


@check(AREA, "api-reference/completions/create#prompt")
async def every_prompt_is_completed(server: Server) -> str:
    """A list of prompts gives a choice for each."""
    body = {"prompt": [PROMPT, "say: d"], "max_tokens": 16}
    document = (await server.post(PATH, body)).if_served("several prompts")
    indices = [at(one, "index", kind=int) for one in at(document, "choices", kind=list)]
    expect(sorted(indices) == [0, 1], f"the choices are {indices}")
    return "2"


@check(AREA, "api-reference/completions/create#stream")
async def a_completion_is_streamed(server: Server) -> str:
    """A streamed one gives pieces of text, one finish reason, the counts, and `[DONE]`."""
    body = {"prompt": PROMPT, "max_tokens": 16}
    (await server.post(PATH, body)).if_served("completions")
    stream = await server.stream(PATH, {**body, "stream_options": {"include_usage": True}})
    expect_stream(stream)
    *pieces, last = stream.documents()
    expect(stream.events[-1].data == b"[DONE]", "[DONE] is not the last event")
    choices = [choice for piece in pieces for choice in at(piece, "choices", kind=list)]
    reasons = [choice["finish_reason"] for choice in choices if maybe(choice, "finish_reason")]
    expect(len(reasons) == 1, f"the finish reasons are {reasons}")
    expect("".join(at(choice, "text", kind=str) for choice in choices) != "", "there is no text")
    return expect_usage(at(last, "usage", kind=dict))
