"""The documents that travel on a link besides sealed bytes (SPEC 10.3)."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx.canonical import Document
from bombyx.money.batch import MAX_LEAVES, Batch
from bombyx.money.channel.payout_documents import PayoutChannel
from bombyx.money.channel.terms import Voucher
from bombyx.money.receipt import Receipt
from bombyx.units import Count, Hex16, Hex32, Hex64, Name

_Code = Annotated[str, Meta(max_length=64, pattern=r"\A[a-z0-9_]+\Z")]
_Text = Annotated[str, Meta(max_length=512)]
_Field = Annotated[str, Meta(max_length=64, pattern=r"\A[A-Za-z0-9_.-]+\Z")]
Fault = Literal["client", "worker", "gateway", "unattributed"]


class Refusal(Document, frozen=True):
    """A worker's signed word that it will not run a request (SPEC 4); `at` in milliseconds."""

    worker: Hex32
    gateway: Hex32
    code: _Code
    fault: Fault
    at: Count
    c: Hex32 | UnsetType = UNSET
    h: Hex32 | UnsetType = UNSET


class SignedRefusal(Document, frozen=True):
    """A refusal with the signature of the worker's receipt key (kind `refusal`).

    `message` is for people and not signed: it never holds content. `param` is the field of the
    request that it speaks of, not signed either.
    """

    refusal: Refusal
    signature: Hex64
    message: _Text | UnsetType = UNSET
    param: _Field | UnsetType = UNSET


class Lost(Document, frozen=True):
    """A gateway's word that no attempt of a claim ended (SPEC 6.6)."""

    gateway: Hex32
    c: Hex32
    at: Count


class SignedLost(Document, frozen=True):
    """A note with the signature of the gateway's identity key (kind `lost`).

    Beside a 422 it makes sealing anew safe (SPEC 14.3): with a billed receipt of the same `c` it
    proves the gateway a liar.
    """

    lost: Lost
    signature: Hex64


class Disposition(Document, frozen=True):
    """What became of a terminal statement: final, stored, repeated identically (SPEC 6.8)."""

    statement: Hex32
    disposition: Literal["billed", "superseded", "expired", "invalid"]
    code: _Code | UnsetType = UNSET
    winner: Receipt | UnsetType = UNSET
    """Of `superseded`: the receipt that won the claim, of the same `c`, as proof."""
    lost: Lost | UnsetType = UNSET
    """Of `superseded`, where no attempt of the claim ended."""
    lost_signature: Hex64 | UnsetType = UNSET


MAX_DISPOSITIONS = 256
"""With the receipt of a winner each still well below the 2 MiB of a link document."""


class Ack(Document, frozen=True):
    """A batch of dispositions, none where there is only news of how they are paid (SPEC 8.2)."""

    dispositions: Annotated[list[Disposition], Meta(max_length=MAX_DISPOSITIONS)]
    voucher: Voucher | UnsetType = UNSET
    """The owner's newest: over all that was billed to all of the owner's workers."""
    payout_channel: PayoutChannel | UnsetType = UNSET
    """What the voucher is of, told once on a link and when it changes."""


class Settle(Document, frozen=True):
    """The leaves since the last one under one signature of kind `settle` (SPEC 1.5).

    The receiver recomputes the root from the leaves.
    """

    leaves: Annotated[list[Hex32], Meta(min_length=1, max_length=MAX_LEAVES)]
    batch: Batch
    signature: Hex64


class WorkerStatus(Document, frozen=True):
    """A worker's load: requests running, waiting, and how many it takes at once."""

    model: Name
    running: Count
    waiting: Count
    slots: Count


class SessionStart(Document, frozen=True):
    """A bare-tier session (SPEC 15): its secret, wrapped to the worker's HPKE key."""

    session: Hex16
    key_id: Hex16
    wrapped: Annotated[str, Meta(max_length=4096, pattern=r"\A[0-9a-f]+\Z")]


class Goaway(Document, frozen=True):
    """No new requests on this link; `retry` says whether to dial again."""

    code: _Code
    message: _Text
    retry: bool
