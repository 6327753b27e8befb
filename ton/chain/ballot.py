"""Counting what nodes say: who has a quorum, and who says something else. Pure."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Answer(Protocol):
    """Something that nodes can agree on."""

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Equal exactly where two answers say the same."""
        ...


Said = TypeVar("Said", bound=Answer)


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Said]):
    """What was agreed on, and the names of those who say something else."""

    agreed: Said
    others: Mapping[str, Said]


def count(answers: Mapping[str, Said], *, quorum: int) -> Verdict[Said] | None:
    """The answer that at least `quorum` nodes give, or None. A quorum is more than half of all."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, answer in answers.items():
        groups[answer.fingerprint].append(name)
    for names in groups.values():
        if len(names) >= quorum:
            others = {name: answer for name, answer in answers.items() if name not in names}
            return Verdict(answers[names[0]], others)
    return None
