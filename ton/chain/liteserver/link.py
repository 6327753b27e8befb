"""A liteserver to ask: connected by the first question, and anew when it was lost.

Whoever asks may give up at any moment (see `ton.chain.asking`), so connecting is no part of a
question: it goes on without those who waited for it, or a far one would never be connected.
"""

import asyncio
from typing import Final

from ton.chain.errors import ProviderFault
from ton.chain.liteserver.line import Line, Lost
from ton.chain.liteserver.place import Place
from ton.chain.liteserver.questions import ERROR
from ton.chain.liteserver.tl import Record
from ton.chain.reading import Nonsense
from ton.chain.wire import DELAYS, MAX_REASON, Pace, Refused, Stumbled

_BUSY: Final = frozenset({228, 429, 5556, 651, 652})
"""Too many requests, in three dialects; a block that is not there yet; too slow."""


class Link:
    """One connection at a time, shared by all who ask."""

    def __init__(
        self,
        place: Place,
        *,
        seconds: float = 10.0,
        per_second: float = 10.0,
        delays: tuple[float, ...] = DELAYS,
    ) -> None:
        self.name = place.name
        self._place = place
        self._seconds = seconds
        self._pace = Pace(per_second)
        self._delays = delays
        self._line: Line | None = None
        self._is_closed = False
        self._opening: asyncio.Task[Line] | None = None

    async def close(self) -> None:
        """Hang up for good."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._drop(self._line)

    async def ask(self, question: bytes, *, again: bool = True) -> bytes:
        """An answer; raises `Refused` or `ProviderFault`.

        `again` says whether asking twice is the same as once.
        """
        delays = list(self._delays) if again else []
        while True:
            await self._pace.turn()
            try:
                return await self._once(question)
            except Stumbled as stumble:
                if not delays:
                    raise ProviderFault(self.name, stumble.reason) from None
                await asyncio.sleep(delays.pop(0))

    async def _once(self, question: bytes) -> bytes:
        if self._is_closed:
            raise ProviderFault(self.name, "is asked no more")
        line: Line | None = None
        try:
            async with asyncio.timeout(self._seconds):
                line = await self._open()
                answer = await line.ask(question)
        except Lost as lost:
            raise Stumbled(str(lost)) from None
        except TimeoutError:
            await self._drop(line)  # it may be dead without a word; the next question opens anew
            raise Stumbled(f"does not answer within {self._seconds:g} s") from None
        except OSError as error:
            raise Stumbled(f"cannot be asked: {type(error).__name__}") from None
        return self._checked(answer)

    async def _open(self) -> Line:
        """The line, once it is open; no await before the task is there, or `close` misses it."""
        line = self._line
        if line is not None and not line.is_lost:
            return line
        opening = self._opening
        if opening is None or opening.done():
            self._opening = opening = asyncio.create_task(self._connect(line))
            opening.add_done_callback(_heed)
        await asyncio.wait({opening})  # which, unlike awaiting it, never cancels it
        if opening.cancelled():
            raise Lost("was hung up on")
        return opening.result()

    async def _connect(self, lost: Line | None) -> Line:
        async with asyncio.timeout(self._seconds):
            await self._drop(lost)
            self._line = line = await Line.open(self._place)
        return line

    async def _drop(self, line: Line | None) -> None:
        if line is not None:
            if self._line is line:
                self._line = None
            await line.close()

    def _checked(self, answer: bytes) -> bytes:
        if answer[:4] != ERROR:
            return answer
        try:
            record = Record(answer).tag(ERROR)
            code, message = record.number(), record.octets()
        except Nonsense as nonsense:
            raise ProviderFault(self.name, str(nonsense)) from None
        text = message.decode("utf-8", errors="replace")[:MAX_REASON]
        if code in _BUSY:
            raise Stumbled(f"answers with error {code}: {text}")
        raise Refused(code, text)


def _heed(opening: "asyncio.Task[Line]") -> None:
    """Look at why it failed, or asyncio complains where nobody waits any more."""
    if not opening.cancelled():
        opening.exception()
