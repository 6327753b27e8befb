"""How people see the steps of a verification, wherever one is shown."""

import re
from typing import Protocol

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MARKS = {"pass": "ok  ", "fail": "FAIL", "unknown": "?   "}


class Finding(Protocol):
    """A step that was taken."""

    @property
    def name(self) -> str:
        """The step's."""
        ...

    @property
    def result(self) -> str:
        """One of pass, fail, unknown."""
        ...

    @property
    def detail(self) -> str:
        """A sentence, which may quote what a stranger wrote."""
        ...


def printable(text: str) -> str:
    """Without control characters: no stranger's escape sequence reaches the terminal."""
    return _CONTROL.sub("?", text)


def step_line(step: Finding) -> str:
    """One line of a table."""
    return f"  {_MARKS[step.result]} {step.name:<27} {printable(step.detail)}"
