"""What its owner should know of a worker: one sentence for each thing that is wrong, no content."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from worker.clock import Clock

MAX_NOTICES = 64
"""Of one name each; names come from this code and the owner's gateways, never from requests."""
MAX_SENTENCE = 400


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence, when it was said first and last (unix milliseconds), and how often."""

    name: str
    sentence: str
    since: int
    last: int
    times: int


class Notices:
    """What is wrong now; told again it is counted, and it goes when it is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._notices: dict[str, Notice] = {}

    def tell(self, name: str, sentence: str) -> None:
        """Something is wrong, or still wrong."""
        now, sentence = self._clock(), sentence[:MAX_SENTENCE]
        known = self._notices.pop(name, None)
        fresh = Notice(name, sentence, now, now, 1)
        if known is not None:
            fresh = replace(known, sentence=sentence, last=now, times=known.times + 1)
        self._notices[name] = fresh
        while len(self._notices) > MAX_NOTICES:
            del self._notices[next(iter(self._notices))]

    def clear(self, name: str) -> None:
        """It is well again."""
        self._notices.pop(name, None)

    def document(self) -> list[dict[str, Any]]:
        """The newest last."""
        return [asdict(one) for one in self._notices.values()]
