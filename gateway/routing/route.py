"""`x-bombyx-route`: what a request asks of its routing (SPEC 13). Pure.

The header is clear in both tiers. It chooses among workers that the client trusts already, and
orders an account's own requests among themselves; it takes nothing from other accounts.
"""

from enum import Enum, IntEnum

import msgspec

from bombyx.errors import RequestError

ROUTE_HEADER = b"x-bombyx-route"
MAX_HEADER_BYTES = 64
"""All words together are shorter."""


class Policy(Enum):
    """What counts among workers that could run a request: exponents of cost and of time."""

    CHEAP = "cheap"
    FAST = "fast"
    BALANCED = "balanced"


class Priority(IntEnum):
    """Order of one account's waiting requests; the higher goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Route(msgspec.Struct, frozen=True, gc=False):
    """One request's wishes; `explain` asks for a header that tells why it went where it did."""

    policy: Policy = Policy.BALANCED
    priority: Priority = Priority.NORMAL
    explain: bool = False


DEFAULT_ROUTE = Route()

_POLICIES = {policy.value: policy for policy in Policy}
_PRIORITIES = {priority.name.lower(): priority for priority in Priority}


def parse_route(value: bytes) -> Route:
    """The header's value, words in any order; raises `RequestError` for any other word."""
    if not value:
        return DEFAULT_ROUTE
    policy, priority, explain = Policy.BALANCED, Priority.NORMAL, False
    if len(value) > MAX_HEADER_BYTES:
        raise _unreadable()
    for part in value.decode("latin-1").lower().split(","):
        word = part.strip()
        if word in _POLICIES:
            policy = _POLICIES[word]
        elif word in _PRIORITIES:
            priority = _PRIORITIES[word]
        elif word == "explain":
            explain = True
        else:
            raise _unreadable()
    return Route(policy, priority, explain)


def _unreadable() -> RequestError:
    return RequestError(
        "x-bombyx-route holds words out of: cheap, fast, balanced, low, normal, high, explain"
    )
