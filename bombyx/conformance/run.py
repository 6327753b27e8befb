"""Running checks: one after the other, each within its time, whatever they meet."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence

import httpx2

from bombyx.conformance.checks import (
    browsers,
    chat,
    completions,
    embeddings,
    errors,
    hanging_up,
    headers,
    messages,
    models,
    responses,
    retries,
    sampling,
    streams,
    structured,
    tools,
)
from bombyx.conformance.record import CATALOGUE, Check, Outcome, Result
from bombyx.conformance.server import Server
from bombyx.conformance.verdict import Lacks, Wrong, at

MODULES = (
    models, chat, streams, sampling, tools, structured, embeddings, completions, responses,
    messages, errors, headers, retries, browsers, hanging_up,
)  # fmt: skip
"""Whose import makes the list of checks complete."""
CHECK_SECONDS = 120.0
"""A model on a CPU may think for a minute."""


def all_checks() -> list[Check]:
    """Every check, an area after the other."""
    order = [module.AREA for module in MODULES]
    return sorted(CATALOGUE.all(), key=lambda one: order.index(one.area))


def chosen(only: Sequence[str]) -> list[Check]:
    """The checks of these names and areas, all for none; raises `KeyError` for a stray name."""
    known = all_checks()
    names = {one.name for one in known} | {one.area for one in known}
    for name in only:
        if name not in names:
            raise KeyError(name)
    return [one for one in known if not only or one.name in only or one.area in only]


async def run(checks: Sequence[Check], server: Server, *, seconds: float) -> AsyncIterator[Outcome]:
    """What became of each; `seconds` is the time of one."""
    for one in checks:
        yield await run_one(one, server, seconds=seconds)


async def run_one(check: Check, server: Server, *, seconds: float = CHECK_SECONDS) -> Outcome:
    """What became of one check; a server that does not answer fails it."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            result, said = Result.PASS, await check.run(server)
    except Lacks as lack:
        result, said = Result.SKIP, str(lack)
    except Wrong as wrong:
        result, said = Result.FAIL, str(wrong)
    except TimeoutError:
        result, said = Result.FAIL, f"no answer within {seconds:g} s"
    except (httpx2.HTTPError, OSError, ssl.SSLError) as error:
        result, said = Result.FAIL, f"the connection failed: {type(error).__name__}"
    return Outcome(check, result, said, time.monotonic() - began)


async def first_model(server: Server) -> str:
    """The first model that the server lists; raises `Wrong`, or what the connection raises."""
    document = (await server.get("/models")).ok()
    name: str = at(document, "data", 0, "id", kind=str)
    return name
