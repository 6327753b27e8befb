"""What a process holds, seen every second, and whether that grew (pure but for `look`)."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

MOST_GROWTH = 0.05
"""Of resident memory, from the second fifth of a run to its last."""
MOST_MORE_DESCRIPTORS = 2
"""A socket that is being dialled just then, and one that is being closed."""
_FIFTHS = 5
_LEAST_SAMPLES = 2 * _FIFTHS


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: resident bytes, open descriptors."""

    rss: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of the second fifth, when all is warm, and of the last."""

    rss_early: int
    rss_late: int
    descriptors_early: float
    descriptors_late: float

    @property
    def rss_ratio(self) -> float:
        """By how much memory grew; negative where it shrank."""
        return self.rss_late / self.rss_early - 1

    def complaints(self, name: str) -> list[str]:
        """What grew beyond the rule."""
        found = []
        if self.rss_ratio > MOST_GROWTH:
            found.append(f"{name}: resident memory grew by {self.rss_ratio:.1%}")
        if self.descriptors_late > self.descriptors_early + MOST_MORE_DESCRIPTORS:
            more = self.descriptors_late - self.descriptors_early
            found.append(f"{name}: {more:.0f} descriptors more than before")
        return found


def look(pid: int) -> Sample:
    """What a process holds now."""
    process = psutil.Process(pid)
    return Sample(process.memory_info().rss, process.num_fds())


def growth(samples: Sequence[Sample]) -> Growth:
    """Raises `ValueError` for too few samples."""
    if len(samples) < _LEAST_SAMPLES:
        raise ValueError("too few samples to tell growth from noise")
    size = len(samples) // _FIFTHS
    early, late = samples[size : 2 * size], samples[-size:]
    return Growth(
        rss_early=int(statistics.median(one.rss for one in early)),
        rss_late=int(statistics.median(one.rss for one in late)),
        descriptors_early=statistics.median(one.descriptors for one in early),
        descriptors_late=statistics.median(one.descriptors for one in late),
    )
