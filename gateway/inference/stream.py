"""From an answer to one HTTP connection, token by token; ends when either side does."""

import asyncio
from collections.abc import Callable

from gateway.inference.answer import Answer, Phase
from gateway.inference.exchange import Exchange


class Pipe:
    """Moves an answer's chunks to one client as they come, without waking a task for each."""

    __slots__ = ("_answer", "_at", "_consumed", "_done", "_exchange")

    def __init__(self, answer: Answer, exchange: Exchange, consumed: Callable[[int], None]) -> None:
        self._answer = answer
        self._exchange = exchange
        self._consumed = consumed
        self._at = 0
        self._done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    @property
    def answer(self) -> Answer:
        """What it moves."""
        return self._answer

    @property
    def at(self) -> int:
        """How many chunks the client has taken."""
        return self._at

    async def run(self) -> bytes | None:
        """Until the answer is over or the client gone (None).

        Returns what is left to send: the last piece is the caller's, who may have more to say.
        """
        self._answer.readers.append(self)
        self._exchange.on_room = self.pump
        self.pump()
        try:
            return await self._done
        finally:
            self._answer.readers.remove(self)

    def pump(self) -> None:
        """There are chunks, or room for them, or it is the end."""
        answer, exchange = self._answer, self._exchange
        if self._done.done():
            return
        if exchange.disconnected:
            self._done.set_result(None)
        elif answer.phase is Phase.OVER:
            self._done.set_result(self._take())
        elif self._at < len(answer.chunks) and not exchange.is_full:
            received = answer.received
            exchange.write(self._take())
            if more := answer.credit(received):
                self._consumed(more)
            if not answer.joinable:
                answer.drop_taken()

    def _take(self) -> bytes:
        """All that came since the last time."""
        chunks = self._answer.chunks
        at, self._at = self._at, len(chunks)
        return chunks[at] if at == self._at - 1 else b"".join(chunks[at:])
