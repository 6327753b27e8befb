"""Reading a sealed answer to its verified end (SPEC 3).

Each signed statement is checked as soon as the sealed frame after it vouches for it: what it counts
is what a cut stream will cost. Whatever breaks was broken by the peer, so errors of the format are
the gateway's here, not the caller's.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from bombyx.client.disputes import Dispute
from bombyx.client.receipts import Sealed, VerifiedAnswer, verified_answer, verify_usage
from bombyx.client.transcripts import Transcript
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    HeadOpened,
    ResponseOpener,
    UsageSeen,
)
from bombyx.errors import BadAnswer, BadReceipt, CannotOpen, MalformedFrame, NotCanonical
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status


class AnswerReader:
    """Feed it the gateway's bytes; `finish` verifies that they were a complete answer."""

    def __init__(self, sealed: Sealed) -> None:
        request = sealed.request
        workers = [candidate.worker for candidate in request.header.header.candidates]
        secrets = dict(zip(workers, request.response_secrets, strict=True))
        self._sealed = sealed
        self._opener = ResponseOpener(request.header.h, secrets)
        self._usage: UsageSeen | None = None
        self._unchecked: UsageSeen | None = None
        self._receipt: Receipt | None = None
        self._end = ""
        self._tape: list[bytes] | None = [] if sealed.body else None
        self.head: HeadOpened | None = None
        self.error: dict[str, Any] | None = None
        """The worker's own error object, authenticated, that ended the answer."""

    def feed(self, data: bytes) -> bytes:
        """What the worker said; raises `BadAnswer` or `RelayInterrupted`."""
        pieces: list[bytes] = []
        with _blaming_the_peer():
            for opened in self._opener.feed(data):
                if self._unchecked is not None:
                    self._check_statement()
                match opened:
                    case DataOpened(payload):
                        pieces.append(payload)
                    case HeadOpened():
                        self.head = opened
                    case UsageSeen():
                        self._usage = self._unchecked = opened
                    case ErrorOpened(body):
                        self.error = _error_object(body)
                    case EndOpened(end):
                        self._end = end.statement
        data = b"".join(pieces)
        if self._tape is not None:
            self._tape.append(data)
        return data

    def transcript(self, answer: VerifiedAnswer) -> Transcript | None:
        """Question and answer in clear, where the user wants them kept."""
        if self._tape is None:
            return None
        return Transcript(self._sealed.body, b"".join(self._tape), answer)

    def finish(self) -> VerifiedAnswer:
        """The verified answer; raises `Truncated` or `BadReceipt`."""
        self._opener.finish()
        if self._receipt is None or self.head is None:
            raise BadReceipt("the answer came without a receipt")
        return verified_answer(
            self._sealed,
            self._receipt,
            worker=self.head.worker,
            status=Status.FINAL if self.error is None else Status.ABORTED,
            end=self._end,
        )

    def _check_statement(self) -> None:
        """Hold the newest statement against what came before it; none follows a terminal one."""
        usage, self._unchecked = self._unchecked, None
        if usage is None or self.head is None:  # the opener lets none pass before the head
            return
        held = None if self._receipt is None else self._receipt.statement
        if held is not None and held.status is not Status.PARTIAL:
            raise BadReceipt("a statement came after the last one")
        self._receipt = verify_usage(self._sealed, usage, worker=self.head.worker, held=held)

    def dispute(self, code: str) -> Dispute:
        """What to keep when the answer was refused: a cut stream costs its last statement."""
        with suppress(BadReceipt):
            self._check_statement()
        received = self._usage.receipt if self._usage else b""
        return Dispute(self._sealed, code, received, self._receipt)


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
