"""Which workers an owner's command is about: one state folder each, or a folder of several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bombyx.control.asking import SEVERAL
from bombyx.control.wire import SOCKET
from bombyx.errors import SetupError
from bombyx.money.channel.payout_documents import PAYOUTS_FILE
from bombyx.settings import state_directory

_TRACES: Final = (PAYOUTS_FILE, SOCKET)
"""Of a worker that was paid here, or runs."""


def states(named: Sequence[Path] | None) -> list[Path]:
    """The folders that were named, else the usual one."""
    return list(named or [state_directory(None)])


def folders(named: Sequence[Path]) -> list[Path]:
    """Each worker's own; a folder of several stands for all of them. Raises `SetupError`.

    Also for itself where it has been one worker's, before or after there were groups: what that
    worker earned is still to be claimed.
    """
    found: list[Path] = []
    for folder in named:
        try:
            inside = [one for name in SEVERAL for one in folder.glob(name) if one.is_dir()]
            own = [folder] if not inside or any((folder / one).exists() for one in _TRACES) else []
        except OSError as error:
            raise SetupError(f"cannot look into {folder}: {error.strerror}") from None
        found += [*own, *sorted(inside)]
    return list(dict.fromkeys(found))
