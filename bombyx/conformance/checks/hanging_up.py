"""Checks of clients that leave in mid-answer."""

import asyncio

from bombyx.conformance.chat import CHAT, HELLO, asking, text_of
from bombyx.conformance.record import check
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Wrong, expect

AREA = "hanging up"
TIMES = 12
LONG = "pace: 20\ncount: 500"
AFTER_SECONDS = 20.0


@check(AREA, "api-reference/chat/create#stream")
async def who_leaves_takes_nothing_along(server: Server) -> str:
    """After clients that hung up in mid-stream, the next request is answered as ever."""
    for _ in range(TIMES):
        async with server.begun(CHAT, asking(LONG)) as first:
            expect(b"data:" in first, "the stream did not begin")
    try:
        async with asyncio.timeout(AFTER_SECONDS):
            text_of((await server.post(CHAT, asking(HELLO))).ok())
    except TimeoutError:
        raise Wrong(f"no answer within {AFTER_SECONDS:.0f} s after {TIMES} left") from None
    return f"answered after {TIMES} left"
