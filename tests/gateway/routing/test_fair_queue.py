"""Who waits, who is next, and that one tenant's flood is not another's wait (DESIGN 7)."""

import heapq
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.fair_queue import Entry, FairQueue, Full

POOL = ("pool",)


def queue(total: int = 10_000, per_tenant: int = 10_000) -> FairQueue[str]:
    return FairQueue(total=total, per_tenant=per_tenant)


def served(waiting: FairQueue[str], *pools: str) -> list[str]:
    order = []
    while (entry := waiting.pop(*(pools or POOL))) is not None:
        order.append(entry.item)
    return order


def test_one_tenant_is_served_in_the_order_in_which_it_came() -> None:
    waiting = queue()
    for number in range(5):
        waiting.push(str(number), tenant="a", pools=POOL)
    assert served(waiting) == ["0", "1", "2", "3", "4"]


def test_tenants_take_turns_however_many_requests_one_has() -> None:
    waiting = queue()
    for number in range(50):
        waiting.push(f"a{number}", tenant="a", pools=POOL)
    for number in range(3):
        waiting.push(f"b{number}", tenant="b", pools=POOL)
    assert served(waiting)[:7] == ["a0", "b0", "a1", "b1", "a2", "b2", "a3"]


def test_priorities_order_a_tenants_own_requests_and_nobody_elses() -> None:
    waiting = queue()
    waiting.push("a-low", tenant="a", pools=POOL, priority=0)
    waiting.push("b-low", tenant="b", pools=POOL, priority=0)
    waiting.push("b-normal", tenant="b", pools=POOL, priority=1)
    for number in range(3):
        waiting.push(f"a-high{number}", tenant="a", pools=POOL, priority=2)
    order = served(waiting)
    assert [item for item in order if item[0] == "a"] == ["a-high0", "a-high1", "a-high2", "a-low"]
    assert [item for item in order if item[0] == "b"] == ["b-normal", "b-low"]
    assert {item[0] for item in order[:2]} == {item[0] for item in order[2:4]} == {"a", "b"}


def test_who_was_served_and_comes_back_goes_behind_who_waited() -> None:
    waiting = queue()
    waiting.push("b0", tenant="b", pools=POOL)
    waiting.push("b1", tenant="b", pools=POOL)
    waiting.push("a0", tenant="a", pools=POOL)
    assert [entry.item for entry in (waiting.pop(*POOL), waiting.pop(*POOL)) if entry] == [
        "b0",
        "a0",
    ]
    waiting.push("a1", tenant="a", pools=POOL)
    assert served(waiting) == ["b1", "a1"]


def test_a_slot_serves_only_who_can_use_it() -> None:
    waiting = queue()
    waiting.push("one", tenant="a", pools=("w1",))
    waiting.push("both", tenant="b", pools=("w1", "w2"))
    waiting.push("any", tenant="c", pools=("model",))
    assert waiting.pop("w3") is None
    assert served(waiting, "w2") == ["both"]
    assert served(waiting, "w1", "model") == ["one", "any"]
    assert len(waiting) == 0


def test_pools_named_twice_are_one() -> None:
    waiting = queue()
    waiting.push("one", tenant="a", pools=("w1", "w1"))
    assert served(waiting, "w1") == ["one"]


def test_it_is_bounded_per_tenant_and_in_all() -> None:
    waiting = queue(total=3, per_tenant=2)
    assert waiting.full("a") is None
    waiting.push("a0", tenant="a", pools=POOL)
    entry = waiting.push("a1", tenant="a", pools=POOL)
    assert (waiting.full("a"), waiting.full("b")) == (Full.TENANT, None)
    with pytest.raises(ValueError, match="full"):
        waiting.push("a2", tenant="a", pools=POOL)
    waiting.push("b0", tenant="b", pools=POOL)
    assert waiting.full("c") is Full.TOTAL
    assert (waiting.waiting("a"), waiting.waiting("c")) == (2, 0)
    waiting.remove(entry)
    assert waiting.full("a") is None


def test_who_leaves_is_passed_over_and_costs_its_tenant_nothing() -> None:
    waiting = queue()
    left = [waiting.push(f"a{number}", tenant="a", pools=("w1", "w2")) for number in range(5)]
    waiting.push("a5", tenant="a", pools=("w1",))
    waiting.push("b0", tenant="b", pools=("w1",))
    for entry in left:
        waiting.remove(entry)
        waiting.remove(entry)
        assert not entry.waiting
    assert [entry.item for entry in waiting.entries()] == ["a5", "b0"]
    assert waiting.pop("w2") is None
    assert served(waiting, "w1") == ["a5", "b0"]


def test_one_whose_workers_were_stuck_does_not_crowd_out_the_others_afterwards() -> None:
    waiting = queue()
    for number in range(30):
        waiting.push(f"stuck{number}", tenant="stuck", pools=("w1",))
        waiting.push(f"a{number}", tenant="a", pools=("w2",))
        waiting.push(f"b{number}", tenant="b", pools=("w2",))
    assert len(served(waiting, "w2")) == 60
    waiting.push("new", tenant="new", pools=("w1",))
    assert served(waiting, "w1").index("new") <= 5


def test_tags_of_who_is_gone_are_forgotten() -> None:
    waiting = queue(total=4)
    waiting.push("anchor", tenant="anchor", pools=("w2",))
    for number in range(200):
        waiting.push("x", tenant=f"t{number}", pools=POOL)
        waiting.push("y", tenant=f"s{number}", pools=POOL)
        served(waiting)
    assert len(waiting._tenants) <= 2 * 4 + 1
    assert served(waiting, "w2") == ["anchor"]
    assert (waiting._tenants, waiting._pools) == ({}, {})


TENANTS, POOLS = "abcd", ("p", "q", "r")
STEPS = st.one_of(
    st.tuples(
        st.just("push"),
        st.sampled_from(TENANTS),
        st.lists(st.sampled_from(POOLS), min_size=1, max_size=3),
        st.integers(0, 2),
    ),
    st.tuples(st.just("pop"), st.lists(st.sampled_from(POOLS), min_size=1, max_size=2)),
    st.tuples(st.just("remove"), st.integers(0, 40)),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=80))
def test_everyone_is_served_or_removed_exactly_once_and_none_is_passed_over(
    steps: list[tuple[object, ...]],
) -> None:
    waiting, alive = queue(total=20, per_tenant=8), dict[Entry[str], None]()
    for step in steps:
        match step:
            case ("push", str(tenant), list(pools), int(priority)):
                if waiting.full(tenant) is None:
                    entry = waiting.push(
                        tenant, tenant=tenant, pools=tuple(pools), priority=priority
                    )
                    alive[entry] = None
            case ("pop", list(pools)):
                able = [one for one in alive if set(one.pools) & set(pools)]
                got = waiting.pop(*pools)
                assert (got is None) == (not able)
                if got is not None:
                    own = [one for one in able if one.item == got.item]
                    usable = [one for one in own if one.rank <= got.rank]
                    first = min(usable, key=lambda one: one.rank)
                    # Two pools have a line of the tenant each: within a line nobody is passed over.
                    assert first is got or not set(first.pools) & set(got.pools)
                    del alive[got]
            case ("remove", int(at)) if alive:
                entry = list(alive)[at % len(alive)]
                waiting.remove(entry)
                del alive[entry]
        assert len(waiting) == len(alive)
        assert set(waiting.entries()) == set(alive)
        counts = Counter(one.item for one in alive)
        assert all(waiting.waiting(tenant) == counts[tenant] for tenant in TENANTS)


# --- A flood, in virtual time ---

SLOTS, SERVICE = 16, 2.0


def waits(
    *, flood: int, clients: int, tenants: int = 10, until: float = 2000.0, seed: int = 7
) -> list[float]:
    """Queue times of tenant 1, in simulated seconds, while tenant 0 has `flood` times its clients.

    Every client sends its next request when the last one is answered or refused.
    """
    chance = random.Random(seed)
    waiting: FairQueue[tuple[int, float]] = FairQueue(total=256, per_tenant=64)
    events: list[tuple[float, int, str, int]] = []
    told, free, count = list[float](), SLOTS, 0

    def after(now: float, what: str, tenant: int) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (now, count, what, tenant))

    for tenant in range(tenants):
        for _ in range(clients * (flood if tenant == 0 else 1)):
            after(chance.uniform(0, SERVICE), "ask", tenant)
    while events and events[0][0] < until:
        now, _, what, tenant = heapq.heappop(events)
        if what == "ask":
            if waiting.full(str(tenant)) is None:
                waiting.push((tenant, now), tenant=str(tenant), pools=POOL)
            else:
                after(now + 1.0, "ask", tenant)
        else:
            free += 1
            after(now + chance.expovariate(10.0), "ask", tenant)
        while free and (entry := waiting.pop(*POOL)) is not None:
            who, since = entry.item
            free -= 1
            if who == 1 and now > until / 10:
                told.append(now - since)
            after(now + chance.uniform(0.5, 1.5) * SERVICE, "done", who)
    return told


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


@pytest.mark.parametrize("seed", [7, 8])
@pytest.mark.parametrize(("clients", "tenants"), [(4, 10), (2, 20), (8, 4)])
def test_a_tenant_that_floods_fifty_times_as_much_raises_anothers_p99_by_a_fifth_at_most(
    clients: int, tenants: int, seed: int
) -> None:
    calm = waits(flood=1, clients=clients, tenants=tenants, seed=seed)
    flooded = waits(flood=50, clients=clients, tenants=tenants, seed=seed)
    assert min(len(calm), len(flooded)) > 500
    assert p99(flooded) <= 1.2 * p99(calm)
    assert len(flooded) >= len(calm) / 1.2
