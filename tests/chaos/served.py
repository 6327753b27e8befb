"""What workers say that they served, and when: by it nobody else's clock or buffers are trusted."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ROUNDING_MS = 2


@dataclass(frozen=True, slots=True)
class Served:
    """A request that came to its end; milliseconds of the machine's clock."""

    id: str
    begun_ms: int
    ended_ms: int


def served(log: Path) -> Iterator[Served]:
    """Every answer of a worker's log."""
    for line in log.read_text(errors="replace").splitlines():
        if '"event": "served"' not in line:
            continue
        told = json.loads(line)
        ended = int(datetime.fromisoformat(told["timestamp"]).timestamp() * 1000)
        yield Served(told["id"], ended - told["ms"], ended)


def most_at_once(found: Iterable[Served]) -> int:
    """How many ran at the same time, at most; what only touches does not overlap."""
    moments = []
    for one in found:
        if one.ended_ms - one.begun_ms > 2 * ROUNDING_MS:
            moments += [(one.begun_ms + ROUNDING_MS, 1), (one.ended_ms - ROUNDING_MS, -1)]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most
