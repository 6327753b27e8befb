"""A cause for want of requests, told in one sentence."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A cause under a name; `stops` says that nothing at all comes as long as it lasts."""

    code: str
    sentence: str
    stops: bool = False
