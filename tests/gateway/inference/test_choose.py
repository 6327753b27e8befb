"""Two drawn at random, the less loaded one taken (DESIGN 7)."""

import random

from gateway.inference.choose import Choice, choose


def never(_: int) -> int:
    raise AssertionError


def test_nobody_is_chosen_among_none() -> None:
    assert choose([], never) is None


def test_one_alone_is_chosen_without_a_draw() -> None:
    only = Choice(0, running=9, waiting=9, slots=1)
    assert choose([only], never) is only
    free = Choice(1, running=0, waiting=0, slots=1)
    assert choose([only, free], never) is free


def test_the_less_loaded_of_two_is_chosen() -> None:
    choices = [Choice(index, running=index, waiting=0, slots=10) for index in range(4)]
    assert choose(choices, lambda n: n - 1) == choices[2]  # 3 and 2 were drawn
    assert choose(choices, lambda _: 0) == choices[0]


def test_two_different_ones_are_drawn() -> None:
    seen = set()
    draw = random.Random(1)
    for _ in range(200):
        drawn: list[int] = []

        def note(count: int, drawn: list[int] = drawn) -> int:
            drawn.append(draw.randrange(count))
            return drawn[-1]

        choose([Choice(i, running=0, waiting=0, slots=1) for i in range(3)], note)
        first, step = drawn
        seen.add((first, (first + 1 + step) % 3))
    assert seen == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_full_ones_are_chosen_only_when_all_are_full() -> None:
    full = [Choice(0, running=2, waiting=5, slots=2), Choice(1, running=2, waiting=0, slots=2)]
    assert choose(full, lambda _: 0) == full[1]
    assert choose([*full, Choice(2, running=1, waiting=0, slots=2)], never) is not None


def test_a_worker_without_slots_counts_as_loaded() -> None:
    assert Choice(0, running=0, waiting=0, slots=0).load == 0
    assert not Choice(0, running=0, waiting=0, slots=0).free
