"""From an answer to one HTTP connection, token by token; ends when either side does."""

import asyncio
from collections.abc import Callable

from gateway.inference.alarms import Alarms
from gateway.inference.answer import Answer, Phase, Reader
from gateway.inference.wire import Receive, Send

WATCH_AFTER_SECONDS = 0.05
"""When to start listening for a hang-up: a task that most short answers never need."""


class Watch:
    """Notices that the client hung up."""

    def __init__(self, receive: Receive, on_gone: Callable[[], None], alarms: Alarms) -> None:
        self._receive = receive
        self._on_gone = on_gone
        self._task: asyncio.Task[None] | None = None
        self._alarm = alarms.after(WATCH_AFTER_SECONDS, self._start)
        self.gone = False

    def stop(self) -> None:
        """Listen no longer."""
        self._alarm.clear()
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
) -> bytes | None:
    """Send chunks until the answer is over; None when the client left before.

    Returns what is left to send: the last body message is the caller's, who may have more to say.
    """
    reader = Reader()
    answer.readers.append(reader)
    try:
        while not watch.gone:
            received, data = answer.received, reader.take(answer.chunks)
            if answer.phase is Phase.OVER:
                return data
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                if more := answer.credit(received):
                    consumed(more)
                if not answer.joinable:
                    answer.drop_taken()
            else:
                await answer.changed()
    finally:
        answer.readers.remove(reader)
    return None
