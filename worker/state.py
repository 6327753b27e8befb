"""The worker's state folder: journal, socket and what its owner's tools read. Nobody else's."""

from pathlib import Path

from bombyx.errors import SetupError

_MODE = 0o700


def make_state(folder: Path) -> Path:
    """The folder, made where it is not there; raises `SetupError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=_MODE)
    except OSError as error:
        raise SetupError(f"{folder} cannot be the state folder: {error.strerror}") from None
    return folder
