"""One attempt's answer on its way through: fed by a link, read by the client's connection.

The link's reader calls in synchronously; HTTP writers wait for `changed`. Until something besides
salt and head has come, nothing is shown, so that another worker may still be asked (SPEC 6.3).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from bombyx.envelope.walker import UsageNoted
from bombyx.errors import BadAnswer, BombyxError
from bombyx.link.documents import SignedRefusal

MAX_KEPT_BYTES = 8 * 2**20
"""Longer answers are not kept for a repetition: what all readers took is dropped (SPEC 14.2)."""


class Reader(Protocol):
    """Who shows an answer to one client."""

    @property
    def at(self) -> int:
        """How many chunks the client has taken."""
        ...

    def pump(self) -> None:
        """Look at the answer again: it went on, or is over."""
        ...


class Passage(Protocol):
    """How bytes of a worker become bytes for the client: as they are, or opened (bare tier)."""

    @property
    def answered(self) -> bool:
        """Whether more than salt and head has come."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the authenticated end has come."""
        ...

    def feed(self, data: bytes) -> list[UsageNoted]:
        """Take a worker's bytes; the receipts that passed. Raises `BombyxError` on nonsense."""
        ...

    def take(self) -> bytes:
        """What may now go to the client."""
        ...

    def position(self) -> tuple[bytes, int]:
        """`resp_ct_hash` and `resp_ct_bytes` so far."""
        ...


class Phase(Enum):
    """How far an attempt is."""

    WAITING = 0
    ANSWERED = 1
    OVER = 2


class Answer:
    """State of one attempt; `failure` says why it is over when it did not end well."""

    def __init__(self, passage: Passage, on_over: Callable[["Answer"], None]) -> None:
        self.passage = passage
        self.phase = Phase.WAITING
        self.refusal: SignedRefusal | None = None
        self.failure: BombyxError | None = None
        self.usages: deque[UsageNoted] = deque(maxlen=2)
        self.statement: bytes | None = None
        self.chunks: list[bytes] = []
        self.size = 0
        self.received = 0
        self.sent_at = self.first_at = 0.0
        """Monotonic seconds, set by whoever dispatched it; 0 while there was no first byte."""
        self.readers: list[Reader] = []
        self._credited = 0
        self._dropped = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._on_over = on_over

    @property
    def answered(self) -> bool:
        """Whether the client may have seen a byte of this answer."""
        return self.passage.answered

    @property
    def joinable(self) -> bool:
        """Whether it can still be read from its first byte."""
        return self.size <= MAX_KEPT_BYTES

    def on_data(self, data: bytes) -> None:
        """Bytes from the worker."""
        if self.phase is Phase.OVER:
            return
        passage = self.passage
        self.received += len(data)
        try:
            noted = passage.feed(data)
        except BombyxError as error:
            # The worker's fault, whatever class the format's own error has.
            self.on_over(BadAnswer(f"the worker's answer is broken: {error.message}"))
            return
        if noted:
            self.usages.extend(noted)
        if not passage.answered:
            return
        if self.phase is Phase.WAITING:
            self.phase = Phase.ANSWERED
        chunk = passage.take()
        if chunk:
            self.chunks.append(chunk)
            self.size += len(chunk)
        if passage.ended:
            self.on_over(None)
        else:
            self._wake()

    def credit(self, received: int) -> int:
        """Bytes to give back to the worker now that a reader took all that came until then.

        Counted as they came over the link, once, however many read: plain text is shorter.
        """
        more, self._credited = max(0, received - self._credited), max(received, self._credited)
        return more

    def drop_taken(self) -> None:
        """Let go of what every reader has, once the answer is too long to be kept."""
        if self.joinable or not self.readers:
            return
        taken = min(reader.at for reader in self.readers)
        for index in range(self._dropped, taken):
            self.chunks[index] = b""
        self._dropped = max(taken, self._dropped)

    def on_statement(self, receipt: bytes) -> None:
        """A terminal statement outside of the stream: the request was aborted."""
        self.statement = receipt
        self._wake()

    def on_over(self, failure: BombyxError | None) -> None:
        """Nothing more comes on this stream."""
        if self.phase is Phase.OVER:
            return
        self.phase = Phase.OVER
        self.failure = failure
        on_over, self._on_over = self._on_over, _nothing  # it holds the run, which holds this
        on_over(self)
        self._wake()

    def poke(self) -> None:
        """Let whoever waits look again."""
        self._wake()

    async def changed(self) -> None:
        """Wait for news."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        for reader in self.readers:
            reader.pump()
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


def _nothing(_answer: Answer) -> None:
    """Called when an answer is over that was over before: never."""
