"""Which workers an owner's command is about: one state folder each, or a folder of several."""

from collections.abc import Sequence
from pathlib import Path

from bombyx.control.asking import SEVERAL
from bombyx.errors import SetupError
from bombyx.settings import state_directory


def states(named: Sequence[Path] | None) -> list[Path]:
    """The folders that were named, else the usual one."""
    return list(named or [state_directory(None)])


def folders(named: Sequence[Path]) -> list[Path]:
    """Each worker's own; a folder of several stands for all of them. Raises `SetupError`."""
    found: list[Path] = []
    for folder in named:
        try:
            inside = [one for name in SEVERAL for one in folder.glob(name) if one.is_dir()]
        except OSError as error:
            raise SetupError(f"cannot look into {folder}: {error.strerror}") from None
        found += sorted(inside) or [folder]
    return list(dict.fromkeys(found))
