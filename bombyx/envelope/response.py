"""Sealing an answer at the worker (SPEC 3): `salt | frames`, one sequence, one transcript.

The transcript t is a running SHA-256 over `h | salt |` every frame so far. End and error frames,
and whatever follows a usage frame, are sealed under t: a usage frame, which is clear, can neither
be dropped, replaced or moved, nor take a sealed frame's place without the next one failing.
"""

import hashlib
import struct
from enum import StrEnum

from bombyx import canonical
from bombyx.envelope.documents import ResponseHead, StreamEnd
from bombyx.envelope.frames import FINAL, HEAD, MAX_FRAME_BYTES, FrameType, aad, encode_frame
from bombyx.envelope.keys import SALT_BYTES, TAG_BYTES, FrameCipher, expand

_U32 = struct.Struct(">I")
PAD_MULTIPLE = 512
"""The granularity of `bucket` padding (as OpenPCC's): hides token lengths for 1.6x the bytes."""
MAX_PAYLOAD = MAX_FRAME_BYTES - TAG_BYTES - PAD_MULTIPLE
ZEROS = bytes(PAD_MULTIPLE)
_NOT_HERE = "nothing may be sealed here: the stream ended or a statement is due"
_DATA, _USAGE = int(FrameType.DATA), int(FrameType.USAGE)
"""As they are in a frame: looking a member of an enum up costs a tenth of a token's frame."""


def sealed_under_transcript(frame_type: int, before: int) -> bool:
    """Whether a frame's associated data ends with t; `before` is the type of the frame before."""
    return before == _USAGE or frame_type in (FrameType.ERROR, FrameType.END)


class Padding(StrEnum):
    """How much the sizes of frames tell: `exact` shows token lengths and is an opt-in."""

    BUCKET = "bucket"
    EXACT = "exact"


_EXACT = Padding.EXACT
_U32_BYTES = _U32.size


def response_secret(secret: bytes, salt: bytes) -> bytes:
    """The secret of one answer; the salt keeps a second answer from re-using nonces."""
    return expand(secret, b"response" + salt)


def pad(payload: bytes, padding: Padding) -> bytes:
    """`u32be n | payload | zeros`, to a multiple of 512 bytes."""
    size = len(payload)
    if padding is _EXACT:
        return _U32.pack(size) + payload
    return _U32.pack(size) + payload + ZEROS[: -(_U32_BYTES + size) % PAD_MULTIPLE]


class Transcript:
    """The running hash t, and the length of what it covers."""

    __slots__ = ("_hash", "length")

    def __init__(self, h: bytes, salt: bytes) -> None:
        self._hash = hashlib.sha256(h + salt)
        self.length = len(salt)

    def add(self, frame: bytes) -> None:
        """Cover one more frame, its head included."""
        self._hash.update(frame)
        self.length += len(frame)

    def digest(self) -> bytes:
        """The value of t now."""
        return self._hash.copy().digest()


class ResponseSealer:
    """The worker's side of one answer. Each method returns bytes to send, in call order.

    Between `fix` and `usage` nothing may be sealed: the statement names the transcript.
    """

    def __init__(self, secret: bytes, *, h: bytes, salt: bytes, padding: Padding) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError("a salt has 32 bytes")
        self._cipher = FrameCipher(response_secret(secret, salt))
        self._h = h
        self._padding = padding
        self._transcript = Transcript(h, salt)
        self._seq = 0
        self._before = -1
        self._plaintext_bytes = 0
        self._fixed = False
        self._ended = False
        self.salt = salt

    @property
    def ended(self) -> bool:
        """Whether the end frame was sealed."""
        return self._ended

    def head(self, head: ResponseHead) -> bytes:
        """The first frame."""
        return self._seal(FrameType.HEAD, pad(canonical.encode(head), self._padding))

    def data(self, payload: bytes) -> bytes:
        """Data frames for a payload of any length."""
        size = len(payload)
        self._plaintext_bytes += size
        if size <= MAX_PAYLOAD:
            return self._data(payload)
        pieces = range(0, size, MAX_PAYLOAD)
        return b"".join(self._data(payload[at : at + MAX_PAYLOAD]) for at in pieces)

    def _data(self, payload: bytes) -> bytes:
        """One data frame: `_seal` without what only other frames need, since every token is one."""
        if self._ended or self._fixed:
            raise ValueError(_NOT_HERE)
        seq, transcript = self._seq, self._transcript
        data = aad(self._h, seq, _DATA, 0)
        if self._before == _USAGE:
            data += transcript.digest()
        body = self._cipher.seal(seq, pad(payload, self._padding), data)
        frame = HEAD.pack(_DATA, 0, len(body)) + body
        transcript.add(frame)
        self._seq = seq + 1
        self._before = _DATA
        return frame

    def keepalive(self, size: int = PAD_MULTIPLE) -> bytes:
        """A padding frame: says nothing, keeps idle proxies from cutting the stream."""
        return self._seal(FrameType.PADDING, bytes(size))

    def error(self, openai_error: bytes) -> bytes:
        """An OpenAI error object in place of (more) data; usage and end still follow."""
        return self._seal(FrameType.ERROR, pad(openai_error, self._padding))

    def fix(self) -> tuple[bytes, int]:
        """`resp_ct_hash` and `resp_ct_bytes` for the statement that goes out next."""
        self._fixed = True
        return self._transcript.digest(), self._transcript.length

    def usage(self, receipt: bytes) -> bytes:
        """The clear frame with a signed statement; ends what `fix` began."""
        self._fixed = False
        return self._emit(FrameType.USAGE, 0, receipt)

    def end(self, final_statement: bytes) -> bytes:
        """The authenticated end, naming the final statement by its hash."""
        document = StreamEnd(statement=final_statement.hex(), bytes=self._plaintext_bytes)
        frame = self._seal(FrameType.END, canonical.encode(document), FINAL)
        self._ended = True
        return frame

    def _seal(self, frame_type: int, payload: bytes, flags: int = 0) -> bytes:
        data = aad(self._h, self._seq, frame_type, flags)
        if sealed_under_transcript(frame_type, self._before):
            data += self._transcript.digest()
        return self._emit(frame_type, flags, self._cipher.seal(self._seq, payload, data))

    def _emit(self, frame_type: int, flags: int, body: bytes) -> bytes:
        if self._ended or self._fixed:
            raise ValueError(_NOT_HERE)
        frame = encode_frame(frame_type, flags, body)
        self._transcript.add(frame)
        self._seq += 1
        self._before = frame_type
        return frame
