"""The two ways through: sealed bytes pass as they are, bare ones are opened for the client."""

from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    HeadOpened,
    ResponseOpener,
    UsageSeen,
)
from bombyx.envelope.walker import ResponseWalker, UsageNoted


class SealedPassage(ResponseWalker):
    """Ciphertext in, the same ciphertext out."""

    __slots__ = ("_out",)

    def __init__(self, h: bytes) -> None:
        super().__init__(h)
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> list[UsageNoted]:
        """Walk over the bytes and keep them for the client."""
        self._out.append(data)
        return super().feed(data)

    def take(self) -> bytes:
        """All that came since the last call."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)


class BarePassage:
    """The gateway as the client: opens the answer and passes plain text on."""

    __slots__ = ("_opener", "_out", "answered", "ended", "error", "head")

    def __init__(self, h: bytes, worker: str, response_secret: bytes) -> None:
        self._opener = ResponseOpener(h, {worker: response_secret})
        self._out: list[bytes] = []
        self.head: ResponseHead | None = None
        self.error: bytes | None = None
        self.answered = False
        self.ended = False

    def feed(self, data: bytes) -> list[UsageNoted]:
        """Open the bytes; raises `BombyxError` for what does not open."""
        noted = []
        for opened in self._opener.feed(data):
            if isinstance(opened, DataOpened):
                self._out.append(opened.payload)
            elif isinstance(opened, UsageSeen):
                noted.append(UsageNoted(opened.receipt, opened.resp_ct_hash, opened.resp_ct_bytes))
            elif isinstance(opened, HeadOpened):
                self.head = opened.head
                continue
            elif isinstance(opened, ErrorOpened):
                self.error = opened.body
            elif isinstance(opened, EndOpened):
                self.ended = True
            self.answered = True
        return noted

    def take(self) -> bytes:
        """Plain text since the last call."""
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def position(self) -> tuple[bytes, int]:
        """Transcript so far."""
        return self._opener.position()
