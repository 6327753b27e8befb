"""One request's stream on a link: frames in, an `Outlet` for the answer out (SPEC 10.2)."""

import asyncio
from typing import Protocol

from bombyx.errors import LinkError
from bombyx.link.frames import LinkType
from bombyx.link.mux import Mux
from bombyx.link.open import Open
from worker.admission import MAX_REQUEST_BYTES
from worker.inference.outlet import StreamStopped

STALL_SECONDS = 30.0
"""Without credit for so long the client is taken for gone."""
UPLOAD_SECONDS = 60.0
"""For the sealed frames of a request, which the gateway mostly holds already."""


class Wire(Protocol):
    """What a stream needs of its link."""

    mux: Mux

    def changed(self) -> None:
        """Something is queued to be sent."""

    async def room(self, stream: int) -> None:
        """Wait until the stream's queue or credit may have changed."""


class Stream:
    """A stream from its `open` frame to its last word."""

    def __init__(self, number: int, request: Open, wire: Wire) -> None:
        self.number = number
        self.request = request
        self._wire = wire
        self._frames = bytearray()
        self._whole = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[str] = loop.create_future()
        self._is_over = False

    @property
    def stopped(self) -> "asyncio.Future[str]":
        """Done, with a code, once nobody takes the answer any more."""
        return self._stopped

    def receive(self, data: bytes) -> None:
        """Sealed request frames; raises `LinkError` after their end."""
        if self._whole.is_set() and len(self._frames) <= MAX_REQUEST_BYTES:
            raise LinkError("a stream goes on after its end")
        if len(self._frames) <= MAX_REQUEST_BYTES:
            self._frames += data
            self._wire.mux.consumed(self.number, len(data))
            self._wire.changed()
        if len(self._frames) > MAX_REQUEST_BYTES:
            self._whole.set()  # enough to be refused by

    def finish(self) -> None:
        """The gateway sent all of the request."""
        self._whole.set()

    def stop(self, code: str) -> None:
        """Reset by the gateway, or the link was lost."""
        if not self._stopped.done():
            self._stopped.set_result(code)

    async def frames(self) -> bytes:
        """All of the request; raises `StreamStopped` when it does not come."""
        whole = asyncio.ensure_future(self._whole.wait())
        waiting: set[asyncio.Future[object]] = {whole, self._stopped}  # type: ignore[arg-type]
        try:
            await asyncio.wait(waiting, timeout=UPLOAD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        if not self._whole.is_set() or self._stopped.done():
            raise StreamStopped("the request did not come whole")
        frames, self._frames = bytes(self._frames), bytearray()
        return frames

    async def writable(self) -> None:
        """Wait for credit; raises `StreamStopped` when there is none for 30 s."""
        mux = self._wire.mux
        if mux.writable(self.number):
            return
        try:
            async with asyncio.timeout(STALL_SECONDS):
                while not mux.writable(self.number):
                    if self._stopped.done() or self._is_over:
                        raise StreamStopped("the stream was stopped")
                    await self._wire.room(self.number)
        except TimeoutError:
            raise StreamStopped("the reader took nothing for 30 s") from None

    def send(self, data: bytes) -> None:
        """Hand sealed bytes to the link."""
        if not self._is_over:
            self._wire.mux.send(self.number, data)
            self._wire.changed()

    def statement(self, receipt: bytes) -> None:
        """A terminal statement on its own; the stream ends with it."""
        if not self._is_over:
            self._wire.mux.send_frame(self.number, LinkType.STATEMENT, receipt)
        self.end()

    def refuse(self, refusal: bytes) -> None:
        """A signed refusal; the last word of the stream."""
        self._last(LinkType.REFUSAL, refusal)

    def end(self) -> None:
        """Nothing more comes on this stream."""
        self._last(LinkType.END, b"")

    def reset(self, code: str) -> None:
        """Break off without a statement; the last word of the stream."""
        self._last(LinkType.RESET, code.encode("ascii"))

    def _last(self, frame_type: LinkType, payload: bytes) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._wire.mux.send_frame(self.number, frame_type, payload)
        self._wire.mux.close(self.number)
        self._wire.changed()
