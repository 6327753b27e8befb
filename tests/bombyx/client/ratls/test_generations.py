"""Pools of connections (SPEC 17.11): young enough, and closed when their last user has gone."""

import itertools

import pytest

from bombyx.client.ratls.generations import MARGIN_SECONDS, POOL_SECONDS, Generations

NOW = 1_800_000_000


def pools(now: list[int]) -> Generations[int]:
    return Generations(itertools.count(1).__next__, clock=lambda: now[0])


@pytest.mark.spec("17.11-g")
def test_a_pool_is_left_after_five_minutes_and_closed_with_its_last_answer() -> None:
    now = [NOW]
    of = pools(now)
    first, _ = of.take()
    now[0] += POOL_SECONDS - 1
    assert of.take() == (first, [])
    now[0] += 1
    second, closing = of.take()
    assert (second.pool, closing) == (2, [])
    assert of.give_back(first) == []
    assert of.give_back(first) == [1]


def test_a_pool_that_nobody_uses_is_closed_when_it_is_left() -> None:
    now = [NOW]
    of = pools(now)
    first, _ = of.take()
    assert of.give_back(first) == []
    now[0] += POOL_SECONDS
    second, closing = of.take()
    assert (second.pool, closing) == (2, [1])


@pytest.mark.spec("17.11-g")
def test_evidence_that_ends_sooner_ends_its_pool_before_it() -> None:
    now = [NOW]
    of = pools(now)
    first, _ = of.take()
    of.shorten(first, NOW + MARGIN_SECONDS + 10)
    now[0] += 9
    assert of.take()[0] is first
    now[0] += 1
    assert of.take()[0] is not first


def test_closing_closes_old_and_new() -> None:
    now = [NOW]
    of = pools(now)
    of.take()
    now[0] += POOL_SECONDS
    of.take()
    assert sorted(of.close()) == [1, 2]
    assert of.close() == []
