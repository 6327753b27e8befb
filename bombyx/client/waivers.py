"""A gateway's signed word that a request is never billed, kept for the day it is (SPEC 14.3).

On such a note a request is sealed anew, and the first one is not heard of again. Should a billed
receipt of its commitment show up after all, both signatures prove the gateway a liar: so the note
is kept with all that others need to check it. No content, no secret; its file is the user's alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bombyx.client.disputes import facts_of
from bombyx.client.private_files import write_private
from bombyx.client.receipts import Sealed
from bombyx.link.documents import SignedLost

MAX_KEPT = 1000
"""Files in the folder. Honest gateways give notes too: the oldest make room."""


@dataclass(frozen=True, slots=True, repr=False)
class Waiver:
    """A request that was given up on a verified note."""

    sealed: Sealed
    note: SignedLost

    @property
    def id(self) -> str:
        """The request's id in hex."""
        return self.sealed.id

    @property
    def c(self) -> str:
        """The request's commitment in hex."""
        return self.note.lost.c

    def document(self, at: int) -> dict[str, Any]:
        """The file's content; `at` is unix seconds."""
        note = msgspec.to_builtins(self.note)
        return {**facts_of(self.sealed), "code": "waived", "at": at, **note}


class WaiverFolder:
    """Writes each note to a file of mode 0600; what cannot be written is let go.

    `clock` gives unix seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._clock = clock

    def __call__(self, waiver: Waiver) -> None:
        """Keep one; the request that is sealed anew must not fail for a full disk."""
        data = msgspec.json.format(msgspec.json.encode(waiver.document(self._clock())))
        try:
            write_private(self._folder / f"{waiver.id}.json", data)
            self._make_room()
        except OSError:
            return

    def _make_room(self) -> None:
        files = list(self._folder.iterdir())
        if len(files) > MAX_KEPT:
            for file in sorted(files, key=_written)[: len(files) - MAX_KEPT]:
                file.unlink(missing_ok=True)


def _written(file: Path) -> int:
    """When, in nanoseconds; one that another process has just removed counts as oldest."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
