"""Where an answer goes: one stream of a link, as the pump sees it (SPEC 3.4, 6)."""

import asyncio
from typing import Protocol

from bombyx.errors import BombyxError


class StreamStopped(BombyxError):
    """Raised when nobody takes the answer any more: reset, link lost, or no credit for 30 s."""

    status = 499
    code = "stream_stopped"


class Outlet(Protocol):
    """One stream; what was handed over goes out whole and in order while the link lives."""

    @property
    def stopped(self) -> "asyncio.Future[str]":
        """Done, with a code, once the gateway reset the stream or the link was lost."""

    async def writable(self) -> None:
        """Wait for credit; raises `StreamStopped` when there is none for 30 s."""

    def send(self, data: bytes) -> None:
        """Hand sealed bytes to the link."""

    def statement(self, receipt: bytes) -> None:
        """Send a terminal statement that did not go in-stream, and end the stream."""

    def end(self) -> None:
        """Nothing more comes on this stream."""

    def reset(self, code: str) -> None:
        """Break the stream off without a statement."""
