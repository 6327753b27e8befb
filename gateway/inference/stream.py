"""From an answer to one HTTP connection, token by token; ends when either side does."""

import asyncio
from collections.abc import Callable

from gateway.inference.answer import Answer, Phase
from gateway.inference.wire import Receive, Send

WATCH_AFTER_SECONDS = 0.05
"""When to start listening for a hang-up: a task that most short answers never need."""


class Watch:
    """Notices that the client hung up."""

    def __init__(self, receive: Receive, on_gone: Callable[[], None]) -> None:
        self._receive = receive
        self._on_gone = on_gone
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WATCH_AFTER_SECONDS, self._start)
        self.gone = False

    def stop(self) -> None:
        """Listen no longer."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._on_gone()


async def copy(
    answer: Answer, send: Send, *, watch: Watch, consumed: Callable[[int], None]
) -> bool:
    """Send chunks until the answer is over; False when the client left before.

    The last body message is the caller's to send: it may have more to say.
    """
    at = 0
    while not watch.gone:
        chunks = answer.chunks
        if at < len(chunks):
            data = chunks[at] if at == len(chunks) - 1 else b"".join(chunks[at:])
            at = len(chunks)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            consumed(len(data))
        elif answer.phase is Phase.OVER:
            return True
        else:
            await answer.changed()
    return False
