"""Versions of NVIDIA's drivers, compared number by number."""

import re

_FORM = re.compile(r"[0-9]{1,5}(\.[0-9]{1,5}){1,3}")


def parse_version(text: str) -> tuple[int, ...]:
    """A version like `550.90.07` as numbers; raises `ValueError`."""
    if not _FORM.fullmatch(text):
        raise ValueError(f"no version of a driver: {text[:32]}")
    return tuple(map(int, text.split(".")))


def is_older(version: str, floor: str) -> bool:
    """Whether a version is below a floor; one that cannot be read is."""
    try:
        return parse_version(version) < parse_version(floor)
    except ValueError:
        return True
