"""The gateway's end of one worker's link: streams out, answers in (SPEC 10).

Knows no socket: messages come in by `receive`, and `wake` is called once per loop turn when some
are due to go out. Everything here runs synchronously in the event loop.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET

from bombyx import canonical
from bombyx.errors import (
    BombyxError,
    Draining,
    EngineFailed,
    EngineTimeout,
    LinkError,
    LinkLost,
    Overloaded,
    RemoteError,
)
from bombyx.link.documents import (
    Ack,
    Disposition,
    Goaway,
    SessionStart,
    Settle,
    SignedRefusal,
    WorkerStatus,
)
from bombyx.link.frames import LinkFrame, LinkType
from bombyx.link.mux import Mux
from bombyx.link.open import Open, encode_open
from bombyx.money.channel.payout_documents import PayoutChannel
from bombyx.money.channel.terms import Voucher
from bombyx.money.offer import SignedOffer
from gateway.inference.answer import Answer, Phase

MAX_STREAM = 2**32 - 2
_SEND_PIECE = 64 * 2**10
_PING = struct.Struct(">Q")
_DATA = int(LinkType.DATA)
_GIVEN_UP: dict[bytes, tuple[type[BombyxError], str]] = {
    EngineFailed.code.encode(): (EngineFailed, "the engine failed before its answer began"),
    EngineTimeout.code.encode(): (EngineTimeout, "the engine gave no token in time"),
    Overloaded.code.encode(): (Overloaded, "the engine's queue is full"),
    Draining.code.encode(): (Draining, "the worker stopped before its answer began"),
}
"""Why a worker may break a request off, told to the client when no other worker answers it."""
_UNKNOWN = (RemoteError, "the worker gave the request up")


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """Whom a link tells of what is not an answer's bytes."""

    on_settle: Callable[[Settle], None]
    on_resent: Callable[[bytes], None]
    on_status: Callable[[WorkerStatus], None]
    on_offers: Callable[[list[SignedOffer]], None]


class _Stream:
    """One request on this link."""

    __slots__ = ("answer", "at", "data", "model")

    def __init__(self, answer: Answer, model: str, data: bytes) -> None:
        self.answer = answer
        self.model = model
        self.data = data
        self.at = 0


class WorkerLink:
    """Streams of one worker; raises `LinkError` from `receive` when the worker breaks the rules."""

    def __init__(self, mux: Mux, events: LinkEvents, wake: Callable[[], None]) -> None:
        self._mux = mux
        self._events = events
        self._wake = wake
        self._streams: dict[int, _Stream] = {}
        self._numbers: dict[Answer, int] = {}
        self._uploading: set[int] = set()
        self._next = 1
        self._acks: list[Disposition] = []
        self._lost = False
        self.running: dict[str, int] = {}
        """By model: slots held, by requests that run or will in a moment."""
        self.peak: dict[str, int] = {}
        """The most of them since whoever reads this set it back."""
        self.on_room: Callable[[str], None] = _nothing
        """Called when a slot of a model was given back."""
        self.draining = False
        self.withheld = False
        """An administrator's word: nothing new goes out here."""
        self.hang_up: Callable[[BombyxError], None] = _nobody
        """Say why and close the connection; its endpoint sets it."""
        self.rtt_ns = 0

    @property
    def open_for_requests(self) -> bool:
        """Whether new requests may go out here."""
        return not (self.draining or self.withheld or self._lost)

    def hold(self, model: str) -> None:
        """Take a slot, before the request that will use it is even claimed."""
        self.running[model] = now = self.running.get(model, 0) + 1
        if now > self.peak.get(model, 0):
            self.peak[model] = now

    def release(self, model: str) -> None:
        """Give a slot back."""
        if not self._lost:
            self.running[model] -= 1
            self.on_room(model)

    def dispatch(self, request: Open, frames: bytes, *, model: str, answer: Answer) -> None:
        """Hand a request to the worker; raises `LinkLost` when the link is gone.

        The slot that is held for it is given back when its stream ends, also in that case.
        """
        if not self.open_for_requests or self._next > MAX_STREAM:
            self.release(model)
            raise LinkLost("the worker's link takes no more requests")
        number, self._next = self._next, self._next + 1
        self._mux.open(number)
        self._mux.send_frame(number, LinkType.OPEN, encode_open(request))
        self._streams[number] = _Stream(answer, model, frames)
        self._numbers[answer] = number
        self._upload(number)
        self._wake()

    def consumed(self, answer: Answer, count: int) -> None:
        """The client took `count` bytes of an answer."""
        number = self._numbers.get(answer)
        if number is not None and self._mux.consumed(number, count):
            self._wake()

    def reset(self, answer: Answer, code: str) -> None:
        """Stop a request; the worker answers with its `aborted` statement."""
        number = self._numbers.get(answer)
        if number is not None:
            self._uploading.discard(number)
            self._mux.discard(number)
            self._mux.send_frame(number, LinkType.RESET, code.encode())
            self._wake()

    def start_session(self, start: SessionStart) -> None:
        """Tell the worker of a bare-tier session before its first request."""
        self._mux.document(LinkType.SESSION, canonical.encode(start))
        self._wake()

    def acknowledge(self, dispositions: list[Disposition]) -> None:
        """Queue dispositions; they leave with the next message."""
        if not self._lost:
            self._mux.document(LinkType.ACK, canonical.encode(Ack(dispositions=dispositions)))
            self._wake()

    def pay(self, voucher: Voucher, channel: PayoutChannel | None) -> None:
        """Queue the owner's newest voucher behind what was acknowledged, and what it is of."""
        if not self._lost:
            told = UNSET if channel is None else channel
            ack = Ack(dispositions=[], voucher=voucher, payout_channel=told)
            self._mux.document(LinkType.ACK, canonical.encode(ack))
            self._wake()

    def say_goodbye(self, code: str, message: str, *, retry: bool) -> None:
        """No new requests from here on."""
        self.draining = True
        goaway = Goaway(code=code, message=message, retry=retry)
        self._mux.document(LinkType.GOAWAY, canonical.encode(goaway))
        self._wake()

    def ping(self, now_ns: int) -> None:
        """Ask for a sign of life."""
        self._mux.document(LinkType.PING, _PING.pack(now_ns))
        self._wake()

    def receive(self, message: bytes, now_ns: int) -> None:
        """Take one message of the worker."""
        for frame in self._mux.receive(message):
            if frame.type == _DATA:
                stream = self._streams.get(frame.stream)
                if stream is not None:
                    stream.answer.on_data(frame.payload)
            elif frame.stream:
                self._on_stream(frame)
            else:
                self._on_link(frame, now_ns)
        if self._uploading:
            for number in tuple(self._uploading):
                self._upload(number)

    def lose(self) -> None:
        """The connection is gone: every request on it is over."""
        self._lost = True
        for stream in list(self._streams.values()):
            stream.answer.on_over(LinkLost("the link to the worker was lost"))
        self._streams.clear()
        self._numbers.clear()
        self.running.clear()

    def _on_stream(self, frame: LinkFrame) -> None:
        if frame.type == LinkType.OPEN:
            raise LinkError("only the gateway opens streams")
        stream = self._streams.get(frame.stream)
        if stream is None:
            return
        if frame.type == LinkType.STATEMENT:
            if stream.answer.phase is Phase.OVER:
                # Given up here meanwhile: it brings its own proof, as one out of a journal does.
                self._events.on_resent(frame.payload)
            else:
                stream.answer.on_statement(frame.payload)
            return
        failure: BombyxError | None = None
        if frame.type == LinkType.REFUSAL:
            stream.answer.refusal = canonical.decode(frame.payload, SignedRefusal)
        elif frame.type == LinkType.RESET:
            kind, message = _GIVEN_UP.get(frame.payload, _UNKNOWN)
            failure = kind(message)
        elif frame.type != LinkType.END:
            raise LinkError("a frame that no worker sends")
        stream.answer.on_over(failure)  # first: what is learnt from it decides who gets the slot
        self._forget(frame.stream, stream)

    def _on_link(self, frame: LinkFrame, now_ns: int) -> None:
        if frame.type == LinkType.SETTLE:
            self._events.on_settle(canonical.decode(frame.payload, Settle))
        elif frame.type == LinkType.STATEMENT:
            self._events.on_resent(frame.payload)
        elif frame.type == LinkType.STATUS:
            self._events.on_status(canonical.decode(frame.payload, WorkerStatus))
        elif frame.type == LinkType.OFFER:
            self._events.on_offers([canonical.decode(frame.payload, SignedOffer)])
        elif frame.type == LinkType.PING:
            self._mux.document(LinkType.PONG, frame.payload)
            self._wake()
        elif frame.type == LinkType.PONG:
            if len(frame.payload) == _PING.size:
                self.rtt_ns = now_ns - _PING.unpack(frame.payload)[0]
        elif frame.type == LinkType.GOAWAY:
            self.draining = True
        else:
            raise LinkError("a frame that no worker sends")

    def _forget(self, number: int, stream: _Stream) -> None:
        del self._streams[number]
        self._numbers.pop(stream.answer, None)
        self._uploading.discard(number)
        self._mux.close(number)
        self.release(stream.model)

    def _upload(self, number: int) -> None:
        """Send as much of the sealed request as the worker's credit allows."""
        stream = self._streams.get(number)
        if stream is None:
            self._uploading.discard(number)
            return
        while stream.at < len(stream.data) and self._mux.has_credit(number):
            end = stream.at + _SEND_PIECE
            self._mux.send(number, stream.data[stream.at : end])
            stream.at = end
        if stream.at < len(stream.data):
            self._uploading.add(number)
            return
        self._uploading.discard(number)
        self._mux.send_frame(number, LinkType.END, b"")


def _nothing(_model: str) -> None:
    """Nobody waits for a slot."""


def _nobody(_why: BombyxError) -> None:
    """The link is not served yet."""
