"""Which of the header's candidates runs a request (DESIGN 7). Pure.

The client has chosen whom it trusts and what it pays; among those the gateway takes the less
loaded of two drawn at random, which keeps queues short without herding on stale loads.
"""

from collections.abc import Callable, Sequence

import msgspec


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A candidate that could run the request now."""

    index: int
    running: int
    waiting: int
    slots: int

    @property
    def load(self) -> float:
        """Share of its slots in use; above 1 when requests wait."""
        return (self.running + self.waiting) / max(self.slots, 1)

    @property
    def free(self) -> bool:
        """Whether a slot is free."""
        return self.running + self.waiting < self.slots


def choose(choices: Sequence[Choice], draw: Callable[[int], int]) -> Choice | None:
    """The next candidate, None when there is none; `draw(n)` gives 0..n-1."""
    pool = [choice for choice in choices if choice.free] or list(choices)
    if not pool:
        return None
    if len(pool) == 1:
        return pool[0]
    first = draw(len(pool))
    second = (first + 1 + draw(len(pool) - 1)) % len(pool)
    return min(pool[first], pool[second], key=lambda choice: choice.load)
