"""What a request that asked is told of its route."""

import msgspec

from gateway.routing.choose import Choice, Reason
from gateway.routing.explain import MOST_SHOWN, explain
from gateway.routing.route import Policy
from tests.gateway.routing.test_choose import DEFAULT, some


def test_it_names_policy_reason_wait_attempt_and_who_was_considered() -> None:
    two = some({"load": 0.5, "cost": 150}, {"held_back": True, "seconds": 0.25})
    told = explain(
        two, Choice(1, free=True, reason=Reason.LOAD), policy=Policy.FAST, queued_ms=7, attempt=2
    )
    assert told == (
        b"fast;reason=load;queued_ms=7;attempt=2, considered;count=2, "
        b'"000000000000";load=0.00;cost=1.00;seconds=0.25;state=closed;newcomer;picked, '
        b'"000000000000";load=0.50;cost=1.50;seconds=1.00;state=closed'
    )


def test_it_is_short_and_shows_the_one_that_was_picked() -> None:
    many = [msgspec.structs.replace(DEFAULT, index=index, cost=0) for index in range(1000)]
    told = explain(
        many,
        Choice(999, free=True, reason=Reason.ONLY),
        policy=Policy.CHEAP,
        queued_ms=0,
        attempt=1,
    )
    assert told.count(b"load=") == MOST_SHOWN
    assert b"picked" in told
    assert len(told) < 1000
