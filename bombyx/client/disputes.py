"""What is kept of a request whose answer was not what it must be (SPEC 3.9, 16).

A dispute holds the header, every candidate's signed identity and the statements that came, thus all
that others need to check who is wrong; no content and no secret. Its file is the user's alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bombyx.client.private_files import write_private
from bombyx.client.receipts import Sealed
from bombyx.money.receipt import Receipt

MAX_KEPT = 1000
"""Files in the folder: a gateway that breaks every answer must not fill the disk."""
VERSION = 1


@dataclass(frozen=True, slots=True, repr=False)
class Dispute:
    """A request that was refused its honest end, and why (an error code)."""

    sealed: Sealed
    code: str
    received: bytes
    """The last statement as it came, whether or not it holds; empty where none came."""
    verified: Receipt | None
    """The last statement that holds: what the request may cost at most so far."""

    @property
    def id(self) -> str:
        """The request's id in hex."""
        return self.sealed.id

    @property
    def c(self) -> str:
        """The request's commitment in hex."""
        return self.sealed.request.c.hex()

    @property
    def charge_nano(self) -> int:
        """What the last statement that holds charges; 0 where none came."""
        return int(self.verified.statement.charge_nano) if self.verified is not None else 0

    def document(self, at: int) -> dict[str, Any]:
        """The file's content; `at` is unix seconds."""
        told = {
            **facts_of(self.sealed),
            "code": self.code,
            "at": at,
            "charge_nano": str(self.charge_nano),
            "received": self.received.hex(),
        }
        if self.verified is not None:
            told["verified"] = msgspec.to_builtins(self.verified)
        return told


def facts_of(sealed: Sealed) -> dict[str, Any]:
    """What others need to check a claim about a request: whose keys, over what."""
    request = sealed.request
    return {
        "v": VERSION,
        "id": sealed.id,
        "c": request.c.hex(),
        "auth": request.auth.hex(),
        "header": msgspec.json.decode(request.header.raw),
        "req_ct_hash": request.req_ct_hash.hex(),
        "keysets": [msgspec.to_builtins(one.worker.keyset) for one in sealed.chosen.values()],
    }


class DisputeFolder:
    """Writes each dispute to a file of mode 0600; what cannot be written is let go.

    `clock` gives unix seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._clock = clock

    def __call__(self, dispute: Dispute) -> None:
        """Keep one; the answer that is being refused must not fail for another reason."""
        data = msgspec.json.format(msgspec.json.encode(dispute.document(self._clock())))
        try:
            if self._count() < MAX_KEPT:
                write_private(self._folder / f"{dispute.id}-{dispute.code}.json", data)
        except OSError:
            return

    def _count(self) -> int:
        try:
            return sum(1 for _ in self._folder.iterdir())
        except FileNotFoundError:
            return 0
