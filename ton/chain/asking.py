"""Asking several nodes at once, without waiting for the slowest."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ton.chain.errors import ProviderFault
from ton.errors import MessageNotAccepted

GRACE: Final = 0.3
"""Seconds that the others have once enough is known, so that those who differ are noticed."""

Outcomes = dict[str, Any]
"""By node: what it answered, or the `ProviderFault` or `MessageNotAccepted` that it raised."""


async def ask_all(
    asked: Mapping[str, Awaitable[Any]], *, enough: Callable[[Outcomes], bool]
) -> Outcomes:
    """What nodes answer; those that are slow once it is `enough` are not waited for."""
    names = {asyncio.ensure_future(question): name for name, question in asked.items()}
    outcomes: Outcomes = {}
    waiting, until = set(names), None
    loop = asyncio.get_running_loop()
    try:
        while waiting:
            left = None if until is None else max(0.0, until - loop.time())
            done, waiting = await asyncio.wait(
                waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            outcomes.update({names[task]: _outcome(task) for task in done})
            if until is None and enough(outcomes):
                until = loop.time() + GRACE
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return outcomes


def _outcome(task: "asyncio.Future[Any]") -> Any:
    try:
        return task.result()
    except (ProviderFault, MessageNotAccepted) as error:
        return error
