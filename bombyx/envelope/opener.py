"""Opening an answer at the client (SPEC 3): every byte authenticated, the end included.

The opener says what the frames hold; whether the receipt is the right one for the request is
`bombyx.client.session`'s to decide (SPEC 3.9).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from bombyx import canonical
from bombyx.envelope.documents import RelayNote, ResponseHead, StreamEnd
from bombyx.envelope.frames import FINAL, HEAD_BYTES, Frame, FrameSplitter, FrameType, aad
from bombyx.envelope.keys import SALT_BYTES, FrameCipher
from bombyx.envelope.response import (
    PAD_MULTIPLE,
    ZEROS,
    Transcript,
    response_secret,
    sealed_under_transcript,
)
from bombyx.errors import CannotOpen, MalformedFrame, NotCanonical, RelayInterrupted, Truncated

_U32 = struct.Struct(">I")
_U32_BYTES = _U32.size
_unpack = _U32.unpack_from
_DATA, _USAGE = int(FrameType.DATA), int(FrameType.USAGE)
T = TypeVar("T", bound=canonical.Document)


@dataclass(frozen=True, slots=True)
class HeadOpened:
    """The answer's status and headers, and the worker whose secret opened them (hex id)."""

    worker: str
    head: ResponseHead


class DataOpened(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's answer; a struct, which costs a fraction of a frozen dataclass."""

    payload: bytes

    __repr__ = object.__repr__  # no content


@dataclass(frozen=True, slots=True, repr=False)
class UsageSeen:
    """A clear receipt, unverified; hash and length of what came before it."""

    receipt: bytes
    resp_ct_hash: bytes
    resp_ct_bytes: int


@dataclass(frozen=True, slots=True, repr=False)
class ErrorOpened:
    """The worker's OpenAI error object."""

    body: bytes


@dataclass(frozen=True, slots=True)
class EndOpened:
    """The authenticated end."""

    end: StreamEnd


Opened = HeadOpened | DataOpened | UsageSeen | ErrorOpened | EndOpened


class ResponseOpener:
    """Feed it the bytes of an answer; `finish` says whether they were all of it."""

    def __init__(self, h: bytes, response_secrets: Mapping[str, bytes]) -> None:
        self._h = h
        self._secrets = dict(response_secrets)
        self._salt = b""
        self._splitter = FrameSplitter()
        self._cipher: FrameCipher | None = None
        self._transcript: Transcript | None = None
        self._seq = 0
        self._before = -1
        self._plaintext_bytes = 0
        self._ended = False

    def feed(self, data: bytes) -> list[Opened]:
        """What is whole by now; raises `MalformedFrame`, `CannotOpen` or `RelayInterrupted`."""
        if self._transcript is None:
            self._salt += data
            if len(self._salt) < SALT_BYTES:
                return []
            self._salt, data = self._salt[:SALT_BYTES], self._salt[SALT_BYTES:]
            self._transcript = Transcript(self._h, self._salt)
        out: list[Opened] = []
        for frame in self._splitter.feed(data):
            if self._ended:
                raise MalformedFrame("the answer goes on after its end")
            opened = self._open(frame, self._transcript)
            if opened is not None:
                out.append(opened)
        if self._ended and self._splitter.pending:
            raise MalformedFrame("the answer goes on after its end")
        return out

    def position(self) -> tuple[bytes, int]:
        """Hash and length of all whole frames so far, as statements name them."""
        transcript = self._transcript or Transcript(self._h, b"")
        return transcript.digest(), transcript.length

    def finish(self) -> None:
        """Call at the end of input; raises `Truncated` unless the authenticated end was seen."""
        if not self._ended:
            raise Truncated("the answer broke off before its authenticated end")

    def _open(self, frame: Frame, transcript: Transcript) -> Opened | None:
        kind, flags, raw = frame
        cipher = self._cipher
        if kind == _DATA and not flags and cipher is not None:
            return self._open_data(raw, transcript, cipher)
        if frame.flags != (FINAL if frame.type == FrameType.END else 0):
            raise MalformedFrame("the final mark belongs on the end frame alone")
        if frame.type == FrameType.RELAY_NOTE:
            raise _interrupted(frame)
        if (cipher is None) != (frame.type == FrameType.HEAD):
            raise MalformedFrame("the head is the first frame and no other")
        if cipher is None:
            opened: Opened | None = self._open_head(frame)
        else:
            opened = self._open_later(frame, transcript, cipher)
        transcript.add(frame.raw)
        self._seq += 1
        self._before = frame.type
        return opened

    def _open_data(self, raw: bytes, transcript: Transcript, cipher: FrameCipher) -> DataOpened:
        """What nearly all frames are: the path of every token."""
        seq = self._seq
        data = aad(self._h, seq, _DATA, 0)
        if self._before == _USAGE:
            data += transcript.digest()
        piece = unpad(cipher.open(seq, raw[HEAD_BYTES:], data))
        self._plaintext_bytes += len(piece)
        transcript.add(raw)
        self._seq = seq + 1
        self._before = _DATA
        return DataOpened(piece)

    def _open_later(
        self, frame: Frame, transcript: Transcript, cipher: FrameCipher
    ) -> Opened | None:
        if frame.type == FrameType.USAGE:
            return UsageSeen(frame.body, transcript.digest(), transcript.length)
        data = aad(self._h, self._seq, frame.type, frame.flags)
        if sealed_under_transcript(frame.type, self._before):
            data += transcript.digest()
        payload = cipher.open(self._seq, frame.body, data)
        if frame.type == FrameType.ERROR:
            return ErrorOpened(unpad(payload))
        if frame.type == FrameType.END:
            return self._end(payload)
        if any(payload):
            raise MalformedFrame("a padding frame holds data")
        return None

    def _open_head(self, frame: Frame) -> HeadOpened:
        """Try each candidate's secret: the header that names the worker is only a hint."""
        data = aad(self._h, 0, frame.type, frame.flags)
        for worker, secret in self._secrets.items():
            cipher = FrameCipher(response_secret(secret, self._salt))
            try:
                payload = cipher.open(0, frame.body, data)
            except CannotOpen:
                continue
            self._cipher = cipher
            return HeadOpened(worker, _read(unpad(payload), ResponseHead))
        raise CannotOpen("the answer was not sealed by a worker that was asked")

    def _end(self, payload: bytes) -> EndOpened:
        end = _read(payload, StreamEnd)
        if end.bytes != self._plaintext_bytes:
            raise MalformedFrame("the end frame counts other bytes than came")
        self._ended = True
        return EndOpened(end)


def _interrupted(frame: Frame) -> RelayInterrupted:
    note = _read(frame.body, RelayNote)
    return RelayInterrupted(
        f"the gateway reports (unauthenticated) that the answer broke off: {note.code}"
    )


def _read(payload: bytes, kind: type[T]) -> T:
    """A document inside a frame; its content stays out of the error."""
    try:
        return canonical.decode(payload, kind)
    except NotCanonical:
        raise MalformedFrame(f"a frame holds no canonical {kind.__name__}") from None


def unpad(packed: bytes) -> bytes:
    """The payload of `u32be n | payload | zeros`; raises `MalformedFrame`."""
    if len(packed) < _U32_BYTES:
        raise MalformedFrame("a frame is too short for its length")
    (length,) = _unpack(packed)
    end = _U32_BYTES + length
    rest = len(packed) - end
    if rest <= PAD_MULTIPLE:  # of an honest sender always
        is_right = rest >= 0 and packed.endswith(ZEROS[:rest])
    else:
        is_right = packed.count(0, end) == rest
    if not is_right:
        raise MalformedFrame("the padding of a frame is wrong")
    return packed[_U32_BYTES:end]
