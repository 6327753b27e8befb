"""The port to a key that comes back at the next start of the same image (SPEC 21).

What it opens is the journal alone. Keys that open requests or sign receipts are born with a process
and die with it; they never pass through here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

KEY_BYTES = 32


class Counter(Protocol):
    """A number that hardware only ever raises. Its methods block; they raise `SetupError`."""

    def read(self) -> int:
        """The number now."""
        ...

    def raise_once(self) -> int:
        """One more; returns the new number."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """`key` is 32 bytes; `by` names the kind of sealing, `counter` is None where there is none.

    `was_used`: this key has been that of a journal before, so that one must be there.
    """

    key: bytes
    by: str
    counter: Counter | None = None
    was_used: bool = False


class Sealing(Protocol):
    """One way to such a key."""

    @property
    def name(self) -> str:
        """The kind: `dstack`, `sev-snp`, `vtpm` or `file`."""
        ...

    @property
    def promise(self) -> str:
        """One sentence for the log: what keeps the key."""
        ...

    async def key(self, journal: Path) -> SealingKey:
        """The key of a journal; files of its own lie beside it. Raises `SetupError`."""
        ...

    async def used(self, journal: Path) -> None:
        """The journal now exists under the key."""
        ...


def beside(journal: Path, suffix: str) -> Path:
    """A file of a sealing's own."""
    return journal.with_suffix(suffix)
