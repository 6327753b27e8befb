"""`x-bombyx-route` of an answer, where the request asked for it: why it went where it did. Pure.

A structured field (RFC 9651): what was decided first, then the workers that it was decided among.
It holds sizes of this network and nothing of the request, nor of whose requests the others are.
"""

from collections.abc import Sequence

from gateway.routing.choose import Candidate, Choice
from gateway.routing.route import Policy

MOST_SHOWN = 8
_NAME_LENGTH = 12


def explain(
    candidates: Sequence[Candidate],
    choice: Choice,
    *,
    policy: Policy,
    queued_ms: int,
    attempt: int,
) -> bytes:
    """The header's value."""
    first = f"{policy.value};reason={choice.reason.value};queued_ms={queued_ms};attempt={attempt}"
    shown = sorted(candidates, key=lambda one: one.index != choice.index)[:MOST_SHOWN]
    cheapest = max(1, min(one.cost for one in candidates))
    rest = (_one(one, cheapest, picked=one.index == choice.index) for one in shown)
    return ", ".join((first, f"considered;count={len(candidates)}", *rest)).encode("ascii")


def _one(one: Candidate, cheapest: int, *, picked: bool) -> str:
    parts = [
        f'"{one.worker[:_NAME_LENGTH]}"',
        f"load={one.load:.2f}",
        f"cost={one.cost / cheapest:.2f}",
        f"seconds={one.seconds:.2f}",
        f"state={one.state.value}",
    ]
    if one.held_back:
        parts.append("newcomer")
    if picked:
        parts.append("picked")
    return ";".join(parts)
