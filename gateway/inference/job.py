"""A request as the dispatcher needs it; the same for sealed and bare."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from bombyx.link.open import SessionKey, WrappedKey
from bombyx.money.settlement import Claim
from gateway.channels.till import Payment
from gateway.inference.answer import Passage
from gateway.routing.route import DEFAULT_ROUTE, Route
from gateway.workers.registry import Listed, Quote


class Target(Struct, frozen=True):
    """A candidate that is linked here, with the offer that the header accepts from it."""

    index: int
    listed: Listed
    quote: Quote
    key: Callable[[], WrappedKey | SessionKey]
    passage: Callable[[], Passage]


class Job(Struct, frozen=True):
    """One request and who may run it.

    `shard` names requests that begin alike, b"" for none. `waits_until` is the unix time in
    seconds after which it is too old to be dispatched. `holds_slot`: its only target was chosen
    before it was sealed, with the slot that it will use; `told` says why, where that was asked.
    """

    account: str
    claim: Claim
    header: bytes
    auth: bytes
    frames: bytes
    stream: bool
    targets: Sequence[Target]
    route: Route = DEFAULT_ROUTE
    shard: bytes = b""
    waits_until: int = 0
    holds_slot: bool = False
    told: bytes = b""
    payment: Payment | None = None
    """The channel that pays; None where the account's balance does."""
