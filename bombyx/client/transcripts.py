"""Questions and answers in clear, kept on the user's disk by their explicit wish.

A transcript is what `bombyx receipt audit` recounts. Beside it lies the receipt, in the form that
`bombyx receipt verify` takes. Both files are the user's alone (mode 0600).
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bombyx.client.private_files import write_private
from bombyx.client.receipts import VerifiedAnswer

VERSION = 1
TRANSCRIPT_SUFFIX, RECEIPT_SUFFIX = ".transcript.json", ".receipt.json"


class TranscriptsKept(UserWarning):
    """Warned of when content will be written to disk, and when it could not be."""


@dataclass(frozen=True, slots=True, repr=False)
class Transcript:
    """One verified answer: the request's body and the worker's words, as they were sealed."""

    request: bytes
    answer: bytes
    verified: VerifiedAnswer


class TranscriptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transcript's file; `request` is JSON, `answer` JSON or the events of a stream."""

    v: int
    id: str
    c: str
    request: str
    answer: str


class TranscriptFolder:
    """Writes each transcript and its receipt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, transcript: Transcript) -> None:
        """Keep one; a full disk costs the transcript, never the answer."""
        statement = transcript.verified.receipt.statement
        kept = TranscriptFile(
            v=VERSION,
            id=statement.id,
            c=statement.c,
            request=transcript.request.decode("utf-8", "replace"),
            answer=transcript.answer.decode("utf-8", "replace"),
        )
        receipt = msgspec.json.encode(transcript.verified.document())
        try:
            write_private(
                self._folder / (statement.id + TRANSCRIPT_SUFFIX), msgspec.json.encode(kept)
            )
            write_private(self._folder / (statement.id + RECEIPT_SUFFIX), receipt)
        except OSError as error:
            warnings.warn(
                f"a transcript could not be written to {self._folder}: {error.strerror}",
                TranscriptsKept,
                stacklevel=2,
            )
