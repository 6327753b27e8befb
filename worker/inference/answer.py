"""The writing side of one answer: sealed frames, statements, the journal between (SPEC 3, 6.8).

Nothing is sealed before the link can take it, so the transcript always equals what was handed over.
A terminal statement is written once, is on disk before it leaves, and goes in-stream while the
stream lives, else on its own.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from bombyx import canonical
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.response import MAX_PAYLOAD, ResponseSealer, Transcript
from bombyx.errors import BombyxError, envelope
from bombyx.money.cost import Tokens
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status, statement_hash
from worker.clock import Clock
from worker.inference.outlet import Outlet
from worker.ledger.journal import Journal
from worker.ledger.scribe import Matter, Point

Sign = Callable[[Matter, Point], "asyncio.Future[Receipt]"]


@dataclass(frozen=True, slots=True)
class Desk:
    """What answers are signed and kept with, towards one gateway."""

    sign: Sign
    journal: Journal
    clock: Clock


class Answer:
    """One answer from its head to its end; each method is called in that order."""

    def __init__(
        self, sealer: ResponseSealer, outlet: Outlet, matter: Matter, *, h: bytes, desk: Desk
    ) -> None:
        self._sealer = sealer
        self._outlet = outlet
        self._matter = matter
        self._h = h
        self._desk = desk
        self._seq = 0
        self._terminal: asyncio.Future[Receipt] | None = None
        self.has_begun = False

    async def begin(self, status: int, content_type: str) -> None:
        """Salt and head."""
        await self._outlet.writable()
        head = ResponseHead(status=status, headers=[("content-type", content_type)])
        self._outlet.send(self._sealer.salt + self._sealer.head(head))
        self.has_begun = True

    async def data(self, payload: bytes) -> None:
        """A piece of the answer, of any length."""
        for at in range(0, len(payload), MAX_PAYLOAD):
            await self._outlet.writable()
            self._outlet.send(self._sealer.data(payload[at : at + MAX_PAYLOAD]))

    async def keepalive(self) -> None:
        """Padding that says nothing; nobody is billed for it."""
        await self._outlet.writable()
        self._outlet.send(self._sealer.keepalive())

    async def error(self, error: BombyxError) -> None:
        """An OpenAI error in place of more data."""
        await self._outlet.writable()
        self._outlet.send(self._sealer.error(json.dumps(envelope(error)["error"]).encode()))

    async def partial(self, tokens: Tokens) -> None:
        """A signed count on the way."""
        await self._outlet.writable()
        receipt = await self._sign(Status.PARTIAL, tokens)
        self._outlet.send(self._sealer.usage(canonical.encode(receipt)))

    async def finish(self, status: Status, tokens: Tokens) -> None:
        """The terminal statement, in-stream, and the authenticated end."""
        await self._outlet.writable()
        self._terminal = self._sign(status, tokens)
        document, name = await self._kept(self._terminal)
        self._outlet.send(self._sealer.usage(document) + self._sealer.end(name))
        self._outlet.end()

    async def abort(self, tokens: Tokens) -> None:
        """Nobody takes the stream any more: the terminal statement goes on its own.

        Where one was written already, that one stands.
        """
        if self._terminal is None or self._terminal.cancelled():
            self._terminal = self._sign(Status.ABORTED, tokens)
        document, _ = await self._kept(self._terminal)
        self._outlet.statement(document)

    def _sign(self, status: Status, tokens: Tokens) -> "asyncio.Future[Receipt]":
        digest, length = self._position()
        point = Point(self._seq, status, tokens, digest, length, self._desk.clock())
        self._seq += 1
        return self._desk.sign(self._matter, point)

    def _position(self) -> tuple[bytes, int]:
        """The transcript of what was handed over; before the salt it is that of nothing."""
        if self.has_begun:
            return self._sealer.fix()
        return Transcript(self._h, b"").digest(), 0

    async def _kept(self, terminal: "asyncio.Future[Receipt]") -> tuple[bytes, bytes]:
        """The receipt's bytes and its statement's hash, once they are on disk."""
        # Shielded: whoever cancels this answer still needs the receipt.
        receipt = await asyncio.shield(terminal)
        document = canonical.encode(receipt)
        await self._desk.journal.keep(receipt, document)
        return document, statement_hash(receipt.statement)
