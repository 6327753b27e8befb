"""`x-bombyx-route` on a request."""

import pytest

from bombyx.errors import RequestError
from gateway.routing.route import DEFAULT_ROUTE, Policy, Priority, Route, parse_route


def test_without_the_header_a_request_is_balanced_and_unexplained() -> None:
    assert parse_route(b"") is DEFAULT_ROUTE
    assert Route() == DEFAULT_ROUTE


@pytest.mark.parametrize(
    ("value", "route"),
    [
        (b"cheap", Route(Policy.CHEAP)),
        (b"FAST", Route(Policy.FAST)),
        (b"balanced", Route()),
        (b"explain", Route(explain=True)),
        (b"low , explain,cheap", Route(Policy.CHEAP, Priority.LOW, explain=True)),
        (b"high", Route(priority=Priority.HIGH)),
    ],
)
def test_words_come_in_any_order(value: bytes, route: Route) -> None:
    assert parse_route(value) == route


@pytest.mark.parametrize("value", [b"quick", b"cheap,", b"\xff", b"low," * 17, b"worker=ab"])
def test_any_other_word_is_refused(value: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_route(value)
    assert caught.value.status == 400
