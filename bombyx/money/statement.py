"""Signed statements of use (SPEC 1.3): what a worker did for one request, so far or at its end.

A *receipt* is a terminal statement (final or aborted) with the path to a signed batch root.
"""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import BadReceipt
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.offer import Prices
from bombyx.units import HEX, Count, Hex16, Hex32, Name, NanoText

TicketHex = Annotated[str, Meta(max_length=1024, extra={"form": HEX})]
"""Whole bytes, at most 512, which only the gateway that made them reads (SPEC 5.3)."""
GENESIS = "0" * 64
"""`prev` of the first statement of a worker boot towards a gateway."""


class Status(StrEnum):
    """Where the request stands."""

    PARTIAL = "partial"
    FINAL = "final"
    ABORTED = "aborted"


class TokenCounts(Document, frozen=True):
    """Inclusive counts, as in OpenAI's usage object."""

    prompt: Count
    cached: Count
    completion: Count
    reasoning: Count


class Statement(Document, frozen=True):
    """One leaf of a batch; field by field in SPEC 1.3."""

    v: Literal["bombyx/1"]
    c: Hex32
    h: Hex32
    id: Hex16
    tier: Literal["sealed", "bare"]
    payer: Hex32
    gateway: Hex32
    worker: Hex32
    boot: Hex16
    n: Count
    seq: Count
    model: Name
    weights: Hex32
    engine: Hex32
    offer: Hex32
    prices: Prices
    tokens: TokenCounts
    amount_nano: NanoText
    fee_bps: Count
    fee_nano: NanoText
    charge_nano: NanoText
    req_ct_hash: Hex32
    resp_ct_hash: Hex32
    resp_ct_bytes: Count
    status: Status
    ticket: TicketHex
    at: Count
    prev: Hex32


def statement_hash(statement: Statement) -> bytes:
    """SHA-256 of the canonical statement: for end frames and `prev`; not the Merkle leaf."""
    return canonical.digest(statement)


def tokens_of(statement: Statement) -> Tokens:
    """The counts as a checked value; raises `BadReceipt` when they contradict each other."""
    counts = statement.tokens
    try:
        return Tokens(counts.prompt, counts.cached, counts.completion, counts.reasoning)
    except ValueError as error:
        raise BadReceipt(f"the statement's {error}") from None


def check_arithmetic(statement: Statement) -> None:
    """Recompute the amounts from tokens, prices and fee; raises `BadReceipt`."""
    try:
        cost = price(tokens_of(statement), Rates.of(statement.prices), statement.fee_bps)
    except ValueError as error:
        raise BadReceipt(str(error)) from None
    claimed = (statement.amount_nano, statement.fee_nano, statement.charge_nano)
    if claimed != (str(cost.amount), str(cost.fee), str(cost.charge)):
        raise BadReceipt("the statement's amounts do not follow from its tokens and prices")
