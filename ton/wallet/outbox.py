"""What a wallet was told to send and what became of it: the port, and its one rule.

An order is written before it is signed, and a signed batch before it leaves. Under one seqno the
wallet executes one message at most, so an order may be in several batches of the same seqno (the
older ones expired) and still goes out once. It is queued again for another seqno only when no
batch that holds it can be executed any more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ton.chain.port import Point
from ton.wallet.outgoing import Outgoing


class State(StrEnum):
    """Of an order. `SENT` left the wallet, `SKIPPED` the wallet could not send.

    `BOUNCED` is a sent one whose receiver gave the money back, less fees.
    """

    QUEUED = "queued"
    SIGNED = "signed"
    SENT = "sent"
    SKIPPED = "skipped"
    BOUNCED = "bounced"


FINAL = frozenset({State.SENT, State.SKIPPED, State.BOUNCED})


@dataclass(frozen=True, slots=True)
class Order:
    """One payment. `id` is its teller's: an order of the same id is put once.

    `message` is the hash of the message that left (of `SENT` and `BOUNCED`), `transaction` that of
    the wallet's transaction; both are empty before.
    """

    id: str
    outgoing: Outgoing
    state: State = State.QUEUED
    message: bytes = b""
    transaction: bytes = b""


@dataclass(frozen=True, slots=True)
class Batch:
    """A signed external message; `hash` is its normal one. It holds these orders, in order.

    `valid_until` is in unix seconds of the chain's clock.
    """

    hash: bytes
    seqno: int
    valid_until: int
    orders: tuple[str, ...]
    boc: bytes = field(repr=False)


class Outbox(Protocol):
    """Durable: what a method wrote survives a kill right after it returns."""

    async def put(self, order_id: str, outgoing: Outgoing) -> Order:
        """Keep a new order; returns what is known under its id."""
        ...

    async def get(self, order_id: str) -> Order | None:
        """One order."""
        ...

    async def queued(self, limit: int) -> list[Order]:
        """Orders to sign, oldest first."""
        ...

    async def withdraw(self, order_id: str) -> bool:
        """Forget a queued order that no kept batch holds, as if it was never put; else False."""
        ...

    async def batches(self) -> list[Batch]:
        """Signed ones whose seqno is not used up, as far as was seen; oldest first."""
        ...

    async def sign(self, batch: Batch) -> bool:
        """Keep a batch whose orders are all queued, and have them signed; else False, and nothing.

        Where two processes sign at once, an order gets into one of the batches.
        """
        ...

    async def expire(self, batch: Batch) -> None:
        """Queue the orders of a batch again whose time is over; it stays among `batches`."""
        ...

    async def sent_to(self, account: str) -> list[Order]:
        """Orders in state `SENT` to an account (`workchain:hex`), oldest first."""
        ...

    async def read_until(self) -> Point | None:
        """Up to where the wallet's own history is evaluated; None before the first time."""
        ...

    async def advance(
        self, since: Point | None, to: Point, *, seqno: int, results: Sequence[Order] = (),
        bounced: Collection[str] = (),
    ) -> bool:  # fmt: skip
        """Write what the history from `since` to `to` shows, in one step.

        `results` are orders that left or were skipped. Batches below `seqno` are dropped, and what
        of them is still signed is queued again. False, and nothing, where `read_until` is not
        `since` any more: another process was first.
        """
        ...
