"""Walking over an answer at the gateway: frames pass unread, the clear ones are noted (SPEC 3.4).

The gateway hashes every byte it receives, whether or not a client is still there to take it.
"""

from typing import NamedTuple

from bombyx.envelope.frames import FINAL, HEAD_BYTES, FrameSplitter, FrameType, Span
from bombyx.envelope.keys import SALT_BYTES
from bombyx.envelope.response import Transcript
from bombyx.errors import MalformedFrame

_HEAD, _USAGE, _END = int(FrameType.HEAD), int(FrameType.USAGE), int(FrameType.END)
_RELAY_NOTE = int(FrameType.RELAY_NOTE)
"""As they are in a frame: this runs for every token."""


class UsageNoted(NamedTuple):
    """A clear receipt as it passed, with hash and length of what the worker sent before it."""

    receipt: bytes
    resp_ct_hash: bytes
    resp_ct_bytes: int


class ResponseWalker:
    """Feed it a worker's answer. It tells usage frames, the first content and the end."""

    __slots__ = ("_salt", "_splitter", "_transcript", "answered", "ended", "h")

    def __init__(self, h: bytes) -> None:
        self.h = h
        self._salt = b""
        self._splitter = FrameSplitter()
        self._transcript: Transcript | None = None
        self.answered = False
        """Whether anything but salt and head has come: from then on no other worker may answer."""
        self.ended = False

    def feed(self, data: bytes) -> list[UsageNoted]:
        """The receipts that passed; raises `MalformedFrame` when the worker breaks the format."""
        transcript = self._transcript
        if transcript is None:
            self._salt += data
            if len(self._salt) < SALT_BYTES:
                return []
            self._salt, data = self._salt[:SALT_BYTES], self._salt[SALT_BYTES:]
            transcript = self._transcript = Transcript(self.h, self._salt)
        noted = self._walk(transcript, *self._splitter.split(data))
        if self.ended and self._splitter.pending:
            raise MalformedFrame("the answer goes on after its end")
        return noted

    def _walk(self, transcript: Transcript, whole: bytes, spans: list[Span]) -> list[UsageNoted]:
        """Cover all frames at once, or up to each receipt, which names what came before it."""
        noted, covered, end = [], 0, 0
        for kind, flags, start, end in spans:
            if self.ended or kind == _RELAY_NOTE:
                raise MalformedFrame("the worker sent a frame that it may not send")
            if flags != (FINAL if kind == _END else 0):
                raise MalformedFrame("the final mark belongs on the end frame alone")
            if kind == _USAGE:
                transcript.add(whole[covered:start])
                covered = start
                body = whole[start + HEAD_BYTES : end]
                noted.append(UsageNoted(body, transcript.digest(), transcript.length))
            elif kind == _END:
                self.ended = True
            if kind != _HEAD:
                self.answered = True
        transcript.add(whole[covered:end])
        return noted

    def position(self) -> tuple[bytes, int]:
        """Hash and length of all whole frames so far; the empty transcript before the salt."""
        transcript = self._transcript
        if transcript is None:
            return Transcript(self.h, b"").digest(), 0
        return transcript.digest(), transcript.length
