"""One TCP connection to a liteserver: questions out, each answer back to whoever waits for it."""

import asyncio
import contextlib
from secrets import token_bytes
from typing import Final, Self

from ton.chain.liteserver.channel import SECRET, Channel, greet
from ton.chain.liteserver.place import Place
from ton.chain.liteserver.questions import ANSWER, enveloped
from ton.chain.liteserver.tl import Record
from ton.chain.reading import Nonsense

MAX_STRAYS: Final = 64
"""Packets in a row that answer nothing (somebody gave up waiting); more is a server that floods."""
_CHUNK: Final = 1 << 16
_RANDOM: Final = 32


class Lost(Exception):
    """The connection is no more, and why; reads on from the liteserver's name."""


class Line:
    """A connection that was greeted. No pings: what an idle server closes is opened anew."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, channel: Channel
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._channel = channel
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._strays = 0
        self._lost: str | None = None
        self._greeted = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, place: Place) -> Self:
        """Connect and greet; raises `Lost` or `OSError`."""
        reader, writer = await asyncio.open_connection(place.host, place.port)
        seed, secret = token_bytes(_RANDOM), token_bytes(SECRET)
        greeting, channel = greet(place.key, seed=seed, secret=secret)
        line = cls(reader, writer, channel)
        try:
            writer.write(greeting)
            await line._greeted.wait()
            line._check()
        except BaseException:
            await line.close()
            raise
        return line

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._lost is not None

    async def ask(self, question: bytes) -> bytes:
        """The answer to one question; raises `Lost` or `OSError`."""
        self._check()
        name = token_bytes(_RANDOM)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        try:
            packet = self._channel.seal(enveloped(name, question), token_bytes(_RANDOM))
            self._writer.write(packet)
            await self._writer.drain()
            return await answer
        finally:
            self._waiting.pop(name, None)

    async def close(self) -> None:
        """Hang up, and tell everybody who waits."""
        self._end("was hung up on")
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _check(self) -> None:
        if self._lost is not None:
            raise Lost(self._lost)

    async def _listen(self) -> None:
        reason = "hangs up"
        try:
            while data := await self._reader.read(_CHUNK):
                for packet in self._channel.feed(data):
                    self._take(packet)
        except Nonsense as nonsense:
            reason = str(nonsense)
        except OSError as error:
            reason = f"cannot be asked: {type(error).__name__}"
        finally:
            self._end(reason)

    def _take(self, packet: bytes) -> None:
        self._greeted.set()
        if packet[:4] == ANSWER:
            record = Record(packet).tag(ANSWER)
            waiting = self._waiting.get(record.digest())
            if waiting is not None and not waiting.done():
                waiting.set_result(record.octets())
                self._strays = 0
                return
        self._strays += 1
        if self._strays > MAX_STRAYS:
            raise Nonsense("talks without being asked")

    def _end(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = reason
        self._writer.transport.abort()
        self._greeted.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Lost(reason))
                answer.exception()  # or asyncio complains where nobody waits any more
