"""What a model server prints: read so that its pipe never fills, kept only while nobody is served.

Later lines could hold content, so that of them nothing but known causes of death is noticed.
"""

import asyncio
from collections import deque

KEPT_LINES = 200
_KEPT_CHARACTERS = 300
_LIMIT = 2**16

_CAUSES = {
    "it ran out of memory": ("outofmemory", "out of memory", "cannot allocate memory"),
    "the model's files are not those of its record": ("integrityerror", "integrity check failed"),
    "it sees no GPU": ("no accelerator", "no cuda gpus", "nvml_error", "found no nvidia driver"),
    "its port was taken": ("address already in use",),
}


class Tail:
    """Reads one process's output to its end."""

    def __init__(self, *, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._is_serving = False
        self.cause: str | None = None
        """Why it died, in our own words, where that was seen."""

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Until the pipe closes."""
        rest = b""
        while piece := await stream.read(_LIMIT):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[-_LIMIT:]
            for line in lines:
                self._take(line.decode(errors="replace"))
        self._take(rest.decode(errors="replace"))

    def serve(self) -> None:
        """From now on lines are not kept."""
        self._is_serving = True
        self._lines.clear()

    def last_words(self) -> str:
        """The error that a start failed with, without our keys; empty where there was none."""
        said = [line for line in self._lines if line and not line[0].isspace()]
        named = [line for line in said if "Error" in line.partition(":")[0]]
        last = (named or said or [""])[-1]
        for secret in self._secrets:
            last = last.replace(secret, "…")
        return last[:_KEPT_CHARACTERS]

    def _take(self, line: str) -> None:
        lowered = line.lower()
        for cause, marks in _CAUSES.items():
            if any(mark in lowered for mark in marks):
                self.cause = cause
        if not self._is_serving:
            self._lines.append(line.rstrip())
