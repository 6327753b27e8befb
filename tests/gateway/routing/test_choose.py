"""Who runs a request: what counts first, what chance decides (DESIGN 7)."""

import random
from collections import Counter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.breaker import State
from gateway.routing.choose import AFFINITY_SLACK, Candidate, Choice, Reason, choose
from gateway.routing.route import Policy

DEFAULT = Candidate(
    0, "ab" * 32, load=0.0, free=True, cost=100, seconds=1.0, state=State.CLOSED, held_back=False
)


def some(*changes: dict[str, Any]) -> list[Candidate]:
    return [
        msgspec.structs.replace(DEFAULT, **{"index": index, "worker": f"{index:064x}", **change})
        for index, change in enumerate(changes)
    ]


def never(_: int) -> int:
    raise AssertionError


def pick(
    candidates: list[Candidate], policy: Policy = Policy.BALANCED, shard: bytes = b"", seed: int = 1
) -> Choice:
    choice = choose(candidates, policy=policy, draw=random.Random(seed).randrange, shard=shard)
    assert choice is not None
    return choice


def picks(candidates: list[Candidate], policy: Policy = Policy.BALANCED) -> set[int]:
    return {pick(candidates, policy, seed=seed).index for seed in range(60)}


def test_nobody_is_chosen_among_none() -> None:
    assert choose([], policy=Policy.FAST, draw=never) is None


def test_one_alone_is_chosen_without_a_draw() -> None:
    for only in some({"free": False, "state": State.OPEN, "held_back": True}):
        choice = choose([only], policy=Policy.FAST, draw=never)
        assert choice == Choice(0, free=False, reason=Reason.ONLY, sound=False)


def test_the_less_loaded_of_two_is_chosen() -> None:
    four = some(*({"load": load} for load in (0.0, 0.1, 0.2, 0.3)))
    chosen = choose(four, policy=Policy.BALANCED, draw=lambda n: n - 1)
    assert chosen == Choice(2, free=True, reason=Reason.LOAD)  # 3 and 2 were drawn
    assert picks(four) == {0, 1, 2}


def test_a_slower_one_counts_as_more_loaded() -> None:
    assert picks(some({"load": 0.1, "seconds": 1.2}, {"load": 0.2, "seconds": 1.0})) == {1}


def test_full_ones_are_chosen_only_when_all_are_full() -> None:
    assert picks(some({"free": False}, {"load": 0.9}, {"free": False})) == {1}
    choice = pick(some({"free": False}, {"free": False}))
    assert not choice.free


def test_broken_ones_are_chosen_only_when_all_are_broken() -> None:
    broken = {"state": State.OPEN}
    # Rather wait for one that works than fail at one that does not.
    choice = pick(some({"free": False}, broken))
    assert choice == Choice(0, free=False, reason=Reason.ONLY, sound=False)
    assert picks(some(broken, broken)) == {0, 1}
    assert picks(some(broken, {"state": State.HALF_OPEN})) == {1}


def test_newcomers_are_held_back_while_others_are_free() -> None:
    new = {"held_back": True}
    assert picks(some(new, {"load": 0.9})) == {1}
    assert picks(some(new, {"free": False})) == {0}
    assert not pick(some(new, {"free": False})).sound
    assert pick(some(new, {"load": 0.9})).sound


def test_cheap_takes_the_cheapest_and_fast_the_fastest() -> None:
    three = some(
        {"cost": 50, "seconds": 4.0}, {"cost": 100, "seconds": 1.5}, {"cost": 400, "seconds": 1.0}
    )
    assert picks(three, Policy.CHEAP) == {0}
    assert picks(three, Policy.FAST) == {2}
    assert picks(three, Policy.BALANCED) == {1}


def test_who_offers_for_nothing_is_cheapest() -> None:
    assert picks(some({"cost": 0}, {"cost": 1}), Policy.CHEAP) == {0}
    assert picks(some({"cost": 0}, {"cost": 0}), Policy.CHEAP) == {0, 1}


def test_requests_that_begin_alike_meet_at_one_worker() -> None:
    ten = some(*[{}] * 10)
    homes = Counter[int]()
    for shard in range(200):
        choice = pick(ten, shard=bytes([shard]) * 32)
        assert choice.reason is Reason.AFFINITY
        assert choice.index == pick(ten, shard=bytes([shard]) * 32, seed=2).index
        homes[choice.index] += 1
    assert len(homes) == 10


def test_a_shard_moves_only_when_its_worker_goes() -> None:
    ten, shard = some(*[{}] * 10), b"s" * 32
    home = pick(ten, shard=shard).index
    for gone in ten:
        left = [one for one in ten if one is not gone]
        assert (pick(left, shard=shard).index == home) == (gone.index != home)


def test_affinity_ends_where_others_are_clearly_emptier() -> None:
    shard = b"s" * 32
    home = pick(some({}, {}), shard=shard).index
    loads = [0.0, 0.0]
    loads[home] = AFFINITY_SLACK
    assert pick(some(*({"load": load} for load in loads)), shard=shard).index == home
    loads[home] += 0.01
    choice = pick(some(*({"load": load} for load in loads)), shard=shard)
    assert (choice.index, choice.reason) == (1 - home, Reason.LOAD)


candidates = st.builds(
    Candidate,
    index=st.integers(0, 1000),
    worker=st.text("abcdef", min_size=1, max_size=4),
    load=st.floats(0, 100),
    free=st.booleans(),
    cost=st.integers(0, 2**63),
    seconds=st.floats(1e-6, 1e9),
    state=st.sampled_from(State),
    held_back=st.booleans(),
)


@given(
    st.lists(candidates, min_size=1, max_size=20),
    st.sampled_from(Policy),
    st.binary(max_size=32),
    st.integers(0, 2**32),
)
def test_the_choice_is_one_of_the_best_class(
    pool: list[Candidate], policy: Policy, shard: bytes, seed: int
) -> None:
    pool = [msgspec.structs.replace(one, index=at) for at, one in enumerate(pool)]
    choice = choose(pool, policy=policy, draw=random.Random(seed).randrange, shard=shard)
    assert choice is not None
    chosen = pool[choice.index]
    assert choice.free == chosen.free
    if chosen.state is State.OPEN:
        assert all(one.state is State.OPEN for one in pool)
    if not chosen.free:
        assert not any(one.free and one.state is not State.OPEN for one in pool)
    if chosen.free and chosen.held_back and chosen.state is not State.OPEN:
        rivals = [one for one in pool if one.free and one.state is not State.OPEN]
        assert all(one.held_back for one in rivals)
