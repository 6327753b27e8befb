"""`payouts.json` and `payouts-seen.json` in a worker's state folder (SPEC 8.8): blocking."""

from pathlib import Path
from typing import Final

from bombyx import canonical
from bombyx.errors import NotCanonical, SetupError
from bombyx.files.durable import replace_durably
from bombyx.money.channel.payout_documents import PAYOUTS_FILE, SEEN_FILE, PayoutFile, SeenFile

MAX_BYTES: Final = 1 << 20
"""Several times what 256 channels need."""


def write_payouts(folder: Path, document: PayoutFile) -> None:
    """Whole and on disk, or as it was before; raises `OSError`."""
    replace_durably(folder / PAYOUTS_FILE, canonical.encode(document))


def read_payouts(folder: Path) -> PayoutFile | None:
    """As the process before left it; raises `SetupError`, since it is worth money."""
    path = folder / PAYOUTS_FILE
    try:
        with path.open("rb") as file:
            return canonical.decode(file.read(MAX_BYTES), PayoutFile)
    except FileNotFoundError:
        return None
    except (OSError, NotCanonical) as error:
        raise SetupError(
            f"{path} holds what gateways owe you and cannot be read ({error}): bring back its "
            "newest copy, or move it away to begin with what gateways say next"
        ) from None


def seen_changed(folder: Path) -> int:
    """When the owner's word was written, in ns; 0 where there is none."""
    try:
        return (folder / SEEN_FILE).stat().st_mtime_ns
    except OSError:
        return 0


def read_seen(folder: Path) -> SeenFile | None:
    """The owner's word; None where there is none that can be read."""
    try:
        with (folder / SEEN_FILE).open("rb") as file:
            return canonical.decode(file.read(MAX_BYTES), SeenFile)
    except (OSError, NotCanonical):
        return None
