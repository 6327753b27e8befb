"""Reading a sealed answer to its verified end (SPEC 3).

Whatever breaks in it was broken by the peer, so errors of the format are the gateway's here, not
the caller's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from bombyx.client.receipts import Sealed, VerifiedAnswer, verify_answer
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    HeadOpened,
    ResponseOpener,
    UsageSeen,
)
from bombyx.errors import BadAnswer, BadReceipt, CannotOpen, MalformedFrame, NotCanonical
from bombyx.money.statement import Status


@dataclass(frozen=True, slots=True, repr=False)
class Dispute:
    """What remains of a request whose answer was not what it must be; holds no content."""

    id: str
    c: str
    header: bytes
    receipt: bytes
    code: str


class AnswerReader:
    """Feed it the gateway's bytes; `finish` verifies that they were a complete answer."""

    def __init__(self, sealed: Sealed) -> None:
        request = sealed.request
        workers = [candidate.worker for candidate in request.header.header.candidates]
        secrets = dict(zip(workers, request.response_secrets, strict=True))
        self._sealed = sealed
        self._opener = ResponseOpener(request.header.h, secrets)
        self._usage: UsageSeen | None = None
        self._end = ""
        self.head: HeadOpened | None = None
        self.error: dict[str, Any] | None = None
        """The worker's own error object, authenticated, that ended the answer."""

    def feed(self, data: bytes) -> bytes:
        """What the worker said; raises `BadAnswer` or `RelayInterrupted`."""
        pieces: list[bytes] = []
        with _blaming_the_peer():
            for opened in self._opener.feed(data):
                match opened:
                    case DataOpened(payload):
                        pieces.append(payload)
                    case HeadOpened():
                        self.head = opened
                    case UsageSeen():
                        self._usage = opened
                    case ErrorOpened(body):
                        self.error = _error_object(body)
                    case EndOpened(end):
                        self._end = end.statement
        return b"".join(pieces)

    def finish(self) -> VerifiedAnswer:
        """The verified answer; raises `Truncated` or `BadReceipt`."""
        self._opener.finish()
        if self._usage is None or self.head is None:
            raise BadReceipt("the answer came without a receipt")
        return verify_answer(
            self._sealed,
            worker=self.head.worker,
            usage=self._usage,
            status=Status.FINAL if self.error is None else Status.ABORTED,
            end=self._end,
        )

    def dispute(self, code: str) -> Dispute:
        """What to keep when the answer was refused."""
        request = self._sealed.request
        receipt = self._usage.receipt if self._usage else b""
        return Dispute(self._sealed.id, request.c.hex(), request.header.raw, receipt, code)


@contextmanager
def _blaming_the_peer() -> Iterator[None]:
    try:
        yield
    except (MalformedFrame, CannotOpen, NotCanonical) as error:
        raise BadAnswer(f"the sealed answer is broken: {error.message}") from None


def _error_object(body: bytes) -> dict[str, Any]:
    """OpenAI's error object, with or without the envelope around it."""
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadAnswer("the worker's error object is no JSON") from None
    inner = document.get("error")
    return inner if isinstance(inner, dict) else document
