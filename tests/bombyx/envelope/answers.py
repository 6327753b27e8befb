"""A worker's answer as a list of frames, for tests that relay it honestly or not."""

from bombyx import canonical
from bombyx.envelope.documents import ResponseHead, StreamEnd
from bombyx.envelope.frames import FINAL, HEAD_BYTES, FrameSplitter, FrameType, aad, encode_frame
from bombyx.envelope.keys import FrameCipher
from bombyx.envelope.opener import ResponseOpener
from bombyx.envelope.response import Padding, ResponseSealer, Transcript, pad, response_secret
from tests.factories import seed, worker

H, SALT, SECRET = seed("h"), seed("salt"), seed("rs 0")
HEAD = ResponseHead(status=200, headers=[("content-type", "text/event-stream")])
STATEMENT = seed("statement")


def sealer(padding: Padding = Padding.BUCKET, secret: bytes = SECRET) -> ResponseSealer:
    """A fresh answer of the first candidate."""
    return ResponseSealer(secret, h=H, salt=SALT, padding=padding)


def opener(h: bytes = H) -> ResponseOpener:
    """The client that asked two workers."""
    return ResponseOpener(h, {worker("a").id: SECRET, worker("b").id: seed("rs 1")})


def answer(*pieces: bytes, receipt: bytes = b"receipt") -> list[bytes]:
    """Salt and head, data, usage, end: one item for each frame, the salt with the first."""
    answering = sealer()
    out = [SALT + answering.head(HEAD)]
    out += [answering.data(piece) for piece in pieces]
    answering.fix()
    return [*out, answering.usage(receipt), answering.end(STATEMENT)]


class ForgingWorker:
    """A worker that has the secret and keeps none of the rules."""

    def __init__(self) -> None:
        self._cipher = FrameCipher(response_secret(SECRET, SALT))
        self._transcript = Transcript(H, SALT)
        self._seq = 0

    def frame(self, frame_type: int, payload: bytes, flags: int = 0) -> bytes:
        """Seal any payload as any type."""
        data = aad(H, self._seq, frame_type, flags)
        if frame_type in (FrameType.ERROR, FrameType.END):
            data += self._transcript.digest()
        return self.clear(frame_type, self._cipher.seal(self._seq, payload, data), flags)

    def clear(self, frame_type: int, body: bytes, flags: int = 0) -> bytes:
        """Add any bytes as a frame."""
        frame = encode_frame(frame_type, flags, body)
        self._transcript.add(frame)
        self._seq += 1
        return frame

    def head(self) -> bytes:
        """Salt and an honest head."""
        return SALT + self.frame(FrameType.HEAD, pad(canonical.encode(HEAD), Padding.EXACT))

    def end(self, *, count: int = 0, flags: int = FINAL) -> bytes:
        """An end that counts whatever it likes."""
        document = StreamEnd(statement=STATEMENT.hex(), bytes=count)
        return self.frame(FrameType.END, canonical.encode(document), flags)


def split(data: bytes) -> list[int]:
    """The body sizes of frames."""
    return [len(frame.raw) - HEAD_BYTES for frame in FrameSplitter().feed(data)]
