"""Attacks from code that has no event loop: a target kept open by a loop in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from bombyx.attack.against import Against, battlefield
from bombyx.attack.record import Attack, Outcome
from bombyx.attack.run import run_one
from bombyx.attack.target import Target

T = TypeVar("T")


class Siege:
    """An open target; `run` runs one attack on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Target) -> None:
        self._loop = loop
        self.target = target

    def run(self, attack: Attack) -> Outcome:
        """What became of one attack."""
        return _wait(self._loop, run_one(attack, self.target))


@contextlib.contextmanager
def siege(
    against: Against, attacks: Sequence[Attack], *, say: Callable[[str], None] = lambda _: None
) -> Iterator[Siege]:
    """Open the target, starting a network where none is named; raises `SetupError`."""
    with battlefield(against, attacks, say=say) as opened, _loop() as loop:
        context = opened()
        target = _wait(loop, _enter(context))
        try:
            yield Siege(loop, target)
        finally:
            _wait(loop, _leave(context))


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="siege")
    thread.start()
    try:
        yield loop
    finally:
        _wait(loop, loop.shutdown_asyncgens())
        _wait(loop, loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


async def _enter(context: AbstractAsyncContextManager[Target]) -> Target:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[Target]) -> None:
    await context.__aexit__(None, None, None)
