"""Sums over a worker's counts: what was earned, how busy it is, what it refused. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from bombyx.control.document import DAY_HOURS, HOUR_SECONDS, Counts, WorkerDocument

DAY_SECONDS = DAY_HOURS * HOUR_SECONDS
NANO = 10**9


def gram(nano: int) -> str:
    """An amount for people, exact, at least two digits behind the point."""
    whole, rest = divmod(abs(nano), NANO)
    behind = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{behind}"


def since(counts: Iterable[Counts], start: int) -> list[Counts]:
    """Hours that are not over before `start` (unix seconds)."""
    return [one for one in counts if one.start + HOUR_SECONDS > start]


def earned(counts: Iterable[Counts]) -> int:
    """Nano, without the gateway's fee."""
    return sum(int(one.earned_nano) for one in counts)


def requests(counts: Iterable[Counts]) -> int:
    """Requests that were answered."""
    return sum(one.requests for one in counts)


def refused(counts: Iterable[Counts]) -> dict[str, int]:
    """By code, the most frequent first."""
    sums: dict[str, int] = {}
    for one in counts:
        for code, count in one.refused.items():
            sums[code] = sums.get(code, 0) + count
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def utilisation(document: WorkerDocument, *, seconds: int) -> float | None:
    """Share of its slots that was busy over whole hours back from now; None where unknown."""
    if not document.slots or not document.at:
        return None
    start = document.at - seconds
    counts = [one for one in document.hours if one.start >= start - start % HOUR_SECONDS]
    span = document.at - (start - start % HOUR_SECONDS)
    busy = sum(one.busy_ms for one in counts) / 1000
    return round(min(busy / (document.slots * span), 1.0), 4)


def by_model(counts: Sequence[Counts]) -> list[dict[str, Any]]:
    """Sums per model, the one that earned most first."""
    found = []
    for model in {one.model for one in counts if one.requests}:
        mine = [one for one in counts if one.model == model]
        found.append(
            {
                "model": model,
                "requests": requests(mine),
                "prompt": sum(one.prompt for one in mine),
                "cached": sum(one.cached for one in mine),
                "completion": sum(one.completion for one in mine),
                "earned_nano": str(earned(mine)),
            }
        )
    return sorted(found, key=lambda one: (-int(one["earned_nano"]), one["model"]))
