"""What a gateway tells anybody of a worker's standing (SPEC 13.9): is it asked, and at what price.

The gateway's own word, signed by nobody: whoever doubts it looks at the directory. It holds sizes
of the network, nothing of any request or account.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bombyx.errors import LinkError
from bombyx.units import Count, Name

TYPICAL_PROMPT, TYPICAL_COMPLETION = 1000, 500
"""Tokens of the request by which offers are compared, the same that bare requests compare by."""
MAX_MODELS = 16
"""Anybody may ask, and each is looked for among all offers."""
MAX_STANDING_BYTES = 2**18

Reason = Literal["listed", "elsewhere", "not_linked", "draining", "withheld", "evidence_ends"]
"""`elsewhere`: another process of the gateway lists it. `draining`: it said goodbye. `withheld`:
the gateway's operator takes it out. `evidence_ends`: what it rests on does not hold long enough."""


Amount = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,17})\Z")]
"""Nano as a decimal string, checked where it is read: no document is hashed here."""
Key = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Spread(msgspec.Struct, frozen=True):
    """Quartiles of live offers, in nano."""

    low: Amount
    middle: Amount
    high: Amount


class Market(msgspec.Struct, frozen=True):
    """Live offers for a model; `cost` of the typical request, the others per million tokens."""

    cost: Spread
    prompt: Spread
    cached: Spread
    completion: Spread
    reasoning: Spread


class Place(msgspec.Struct, frozen=True):
    """A worker's own offer: `cheaper` others ask less for the typical request."""

    cost_nano: Amount
    cheaper: Count
    slots: Count
    running: Count
    waiting: Count
    held_back: bool
    """It runs all that it is known to run at once: asked only where nobody else is free."""


class ModelStanding(msgspec.Struct, frozen=True):
    """A model's live offers, this worker's among them where it has one."""

    model: Name
    offers: Count
    market: Market | UnsetType = UNSET
    own: Place | UnsetType = UNSET


class Repute(msgspec.Struct, frozen=True):
    """What the process has seen of the machine of this owner (SPEC 13.4); seconds, shares."""

    breaker: Literal["closed", "open", "half_open"]
    success: float
    answer_s: float
    first_token_s: float
    tokens_per_second: float
    at_once: Count
    answered: Count
    failed: Count
    refused: Annotated[dict[str, int], Meta(max_length=8)]


class WorkerStanding(msgspec.Struct, frozen=True):
    """The answer of `GET /v1/confidential/workers/{worker}/standing`; `at` in unix seconds."""

    worker: Key
    gateway: Key
    at: Count
    listed: bool
    reason: Reason
    queue: Count
    """Requests that wait at this process for a slot, of any model."""
    models: Annotated[list[ModelStanding], Meta(max_length=MAX_MODELS)]
    repute: Repute | UnsetType = UNSET


def parse_standing(raw: bytes) -> WorkerStanding:
    """Read an answer; raises `LinkError` for what is none."""
    try:
        return msgspec.json.decode(raw, type=WorkerStanding)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LinkError("the gateway's word about the worker cannot be read") from None
