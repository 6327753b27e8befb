"""How a check says that a rule is broken, or that the feature is not there; and how it reads JSON.

Nothing is taken on trust: a member that is missing or of another type breaks the rule, by name.
"""

from typing import Any

MAX_SHOWN = 120
_KINDS = {str: "a string", int: "an integer", list: "a list", dict: "an object", bool: "a boolean"}


class Wrong(Exception):
    """Raised where the server breaks the rule; the message says how."""


class Lacks(Exception):
    """Raised where the server says, in the proper form, that it does not have the feature."""


def expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as the sentence it is
    """Go on if the rule holds; raises `Wrong` with the sentence otherwise."""
    if not holds:
        raise Wrong(otherwise)


def at(document: Any, *path: str | int, kind: type) -> Any:
    """The member at a path, which must be of a kind; raises `Wrong`. A boolean is no integer."""
    value = _walk(document, path)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = is_number and (kind is float or isinstance(value, kind)) if kind in (int, float) else (
        isinstance(value, kind)
    )  # fmt: skip
    expect(fits, f"`{_spoken(path)}` is not {_KINDS.get(kind, 'a number')}: {shown(value)}")
    return value


def maybe(document: Any, *path: str | int) -> Any:
    """The member at a path, None where it is not there or null."""
    try:
        return _walk(document, path)
    except Wrong:
        return None


def is_equal(document: Any, *path: str | int, to: Any) -> None:
    """The member at a path has this value; raises `Wrong`."""
    value = _walk(document, path)
    expect(value == to, f"`{_spoken(path)}` is {shown(value)} instead of {shown(to)}")


def shown(value: Any) -> str:
    """A value as a sentence may hold it."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _walk(document: Any, path: tuple[str | int, ...]) -> Any:
    value = document
    for number, step in enumerate(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise Wrong(f"`{_spoken(path[: number + 1])}` is missing") from None
    return value


def _spoken(path: tuple[str | int, ...]) -> str:
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(parts).removeprefix(".")
