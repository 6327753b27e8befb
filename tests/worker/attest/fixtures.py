"""Recorded evidence and collateral: see `tests/fixtures/tee/README.md` for what each file is."""

from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "fixtures/tee"


def tee(name: str) -> bytes:
    """One recorded file."""
    return (_FOLDER / name).read_bytes()
