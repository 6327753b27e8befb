"""What an attack is, what it observes, and the list of all of them."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bombyx.attack.defence import Defence
from bombyx.attack.target import Need, Target


class Role(StrEnum):
    """Whom the attacker plays."""

    GATEWAY = "gateway"
    WORKER = "worker"
    CLIENT = "client"
    PAGE = "page"
    NEIGHBOUR = "neighbour"


class Result(StrEnum):
    """How an attack ended; `error` means that nothing was shown either way."""

    DEFEATED = "defeated"
    SUCCEEDED = "succeeded"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the attacker observed, and whether that is what it wanted."""

    won: bool
    observed: str


def defeated(observed: str) -> Seen:
    """The victim held."""
    return Seen(won=False, observed=observed)


def succeeded(observed: str) -> Seen:
    """The victim fell."""
    return Seen(won=True, observed=observed)


def judged(won: bool, observed: str) -> Seen:  # noqa: FBT001 - reads as the sentence it is
    """Either, as observed."""
    return Seen(won=won, observed=observed)


Run = Callable[[Target], Awaitable[Seen]]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: who, against what, what it tries, and what must happen instead."""

    name: str
    role: Role
    defence: Defence
    tries: str
    expected: str
    needs: frozenset[Need]
    run: Run

    def fits(self, target: Target) -> bool:
        """Whether the target has all that the attack needs."""
        return self.needs <= target.has


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attack that was run."""

    attack: Attack
    result: Result
    observed: str
    seconds: float

    def document(self) -> dict[str, Any]:
        """One entry of the report."""
        return {
            "name": self.attack.name,
            "role": self.attack.role.value,
            "defence": self.attack.defence.value,
            "expected": self.attack.expected,
            "observed": self.observed,
            "result": self.result.value,
        }


class Arsenal:
    """Attacks by name, in the order of their making."""

    def __init__(self) -> None:
        self._attacks: dict[str, Attack] = {}

    def add(self, attack: Attack) -> None:
        """Add one; raises `ValueError` for a name that is taken."""
        if attack.name in self._attacks:
            raise ValueError(f"two attacks are called {attack.name}")
        self._attacks[attack.name] = attack

    def all(self) -> list[Attack]:
        """Every attack."""
        return list(self._attacks.values())


ARSENAL = Arsenal()


Declare = Callable[[Run], Run]


def attack(role: Role, defence: Defence, expected: str, *needs: Need) -> Declare:
    """Declare a coroutine an attack: its name and first line of documentation are the attack's."""

    def declare(run: Run) -> Run:
        name = run.__name__
        tries = (run.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        ARSENAL.add(Attack(name, role, defence, tries, expected, frozenset(needs), run))
        return run

    return declare


Play = Callable[[], Seen]


def played(role: Role, defence: Defence, expected: str) -> Callable[[Play], Play]:
    """Declare a function an attack on this library itself: it has no target, and needs none."""

    def declare(play: Play) -> Play:
        @functools.wraps(play)
        async def run(_: Target) -> Seen:
            return play()

        attack(role, defence, expected, Need.LIBRARY)(run)
        return play

    return declare
