"""Checks of the headers that SDKs and people read."""

import asyncio
import re

from bombyx.conformance.chat import CHAT, HELLO, ask_streamed, asking
from bombyx.conformance.record import check
from bombyx.conformance.server import TOO_MANY, UNAVAILABLE, Answer, Server
from bombyx.conformance.verdict import Lacks, expect, shown

AREA = "headers"
DEBUGGING = "api-reference/debugging-requests"
LIMITS = tuple(
    f"x-ratelimit-{what}-{of}"
    for what in ("limit", "remaining", "reset")
    for of in ("requests", "tokens")
)
AT_ONCE = 40
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


@check(AREA, DEBUGGING)
async def every_answer_has_a_request_id(server: Server) -> str:
    """Answers, streams and errors each have an `x-request-id` of their own, to ask about later."""
    stream, _ = await ask_streamed(server, asking(HELLO))
    answers = (
        await server.post(CHAT, asking(HELLO)),
        stream.answer,
        await server.get("/models"),
        await server.get("/no-such-path"),
        await server.send("POST", CHAT, content=b"{"),
        await server.send("DELETE", CHAT),
        await server.post(CHAT, asking(HELLO), headers={"authorization": ""}),
        await server.post(CHAT, asking(HELLO), headers={"content-type": "text/plain"}),
    )
    ids = [answer.headers.get("x-request-id", "") for answer in answers]
    missing = [answer.status for answer, one in zip(answers, ids, strict=True) if not one]
    expect(not missing, f"answers with the statuses {missing} have none")
    expect(len(set(ids)) == len(ids), "two answers have the same one")
    return ids[0]


@check(AREA, DEBUGGING)
async def an_answer_says_how_long_it_took(server: Server) -> str:
    """`openai-processing-ms` is a number, and `openai-version` a date."""
    headers = (await server.post(CHAT, asking(HELLO))).headers
    took, version = (headers.get(f"openai-{name}", "") for name in ("processing-ms", "version"))
    expect(took.isdecimal(), f"openai-processing-ms is {shown(took)}")
    expect(bool(re.fullmatch(r"\d{4}-\d\d-\d\d", version)), f"openai-version is {shown(version)}")
    return f"{took} ms"


@check(AREA, "guides/rate-limits#rate-limits-in-headers")
async def limits_are_told(server: Server) -> str:
    """Whoever limits a key tells limit, rest and reset, of requests and of tokens."""
    headers = (await server.post(CHAT, asking(HELLO))).headers
    found = {name: headers[name] for name in LIMITS if name in headers}
    if not found:
        raise Lacks("no limits are told; the key may have none")
    for name, value in found.items():
        is_reset = name.startswith("x-ratelimit-reset")
        fits = bool(_DURATION.fullmatch(value)) if is_reset else value.isdecimal()
        expect(fits, f"{name} is {shown(value)}")
    for of in ("requests", "tokens"):
        told = [name for name in found if name.endswith(of)]
        expect(len(told) in (0, 3), f"of {of} only {', '.join(told)} are told")
    return ", ".join(
        f"{name.removeprefix('x-ratelimit-')} {value}" for name, value in found.items()
    )


@check(AREA, "guides/rate-limits#error-mitigation")
async def who_is_too_many_is_told_when_to_return(server: Server) -> str:
    """Of many requests at once, those refused get 429 or 503, and `retry-after`."""
    body = asking("pace: 20\ncount: 10")
    asked = [server.post(CHAT, body, patient=False) for _ in range(AT_ONCE)]
    answers = await asyncio.gather(*asked)
    refused = [answer for answer in answers if answer.status in (TOO_MANY, UNAVAILABLE)]
    others = {answer.status for answer in answers} - {200, TOO_MANY, UNAVAILABLE}
    expect(not others, f"some were answered {shown(others)}")
    if not refused:
        raise Lacks(f"{AT_ONCE} requests at once were all served")
    for answer in refused:
        answer.error(TOO_MANY, UNAVAILABLE)
        expect(_tells_when(answer), "a refusal has neither retry-after nor retry-after-ms")
    return f"{len(refused)} of {AT_ONCE} refused, told to wait"


def _tells_when(answer: Answer) -> bool:
    values = (answer.headers.get(name, "") for name in ("retry-after", "retry-after-ms"))
    return any(value.replace(".", "", 1).isdecimal() for value in values)
