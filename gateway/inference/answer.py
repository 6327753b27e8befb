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
from bombyx.errors import BombyxError
from bombyx.link.documents import SignedRefusal


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
        self._waiters: list[asyncio.Future[None]] = []
        self._on_over = on_over

    @property
    def answered(self) -> bool:
        """Whether the client may have seen a byte of this answer."""
        return self.passage.answered

    def on_data(self, data: bytes) -> None:
        """Bytes from the worker."""
        passage = self.passage
        try:
            noted = passage.feed(data)
        except BombyxError as error:
            self.on_over(error)
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
        if self._waiters:
            self._wake()

    def on_refusal(self, refusal: SignedRefusal) -> None:
        """The worker will not run it; nothing follows."""
        self.refusal = refusal
        self.on_over(None)

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
        self._on_over(self)
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
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
