"""What `/admin/v1` says of workers, who is taken out, and offers; times unix seconds or ms."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, StringConstraints

from gateway.admin.schemas import NO_ZERO, Body, Paged, Reason


class StepView(BaseModel):
    """One step of the verification of a worker."""

    name: str
    result: str
    detail: str


class ModelLoad(BaseModel):
    """What a worker runs of a model."""

    running: int
    waiting: int
    slots: int


class Reputation(BaseModel):
    """What this process has seen of a machine of an owner; it is chosen by that (SPEC 13.4)."""

    success: float
    """Share of its requests that were answered, lately."""
    answer_s: float
    """Seconds that a typical answer takes, failures priced in: the lowest is asked first."""
    first_token_s: float
    tokens_per_second: float
    at_once: int
    """Requests at a time that it gets while others are free."""
    answered: int
    failed: int
    refused: dict[str, int]
    """By whose fault the worker said it was."""
    breaker: Literal["closed", "open", "half_open"]
    """`open`: it failed too often, and is not asked."""


class WorkerView(BaseModel):
    """A linked worker."""

    worker: str
    platform: str
    platform_id: str
    payout: str
    expires_at: int
    """Unix seconds, as in the evidence."""
    draining: bool
    reputation: Reputation
    models: dict[str, ModelLoad]
    steps: list[StepView]


class WorkerPage(Paged):
    """Workers by id."""

    workers: list[WorkerView]


class EvidenceView(BaseModel):
    """What a worker identified itself with."""

    worker: str
    first_seen: int
    last_seen: int
    keyset: dict[str, Any]
    evidence: dict[str, Any]
    collateral: str
    """Digest of the collateral document, empty where the platform has none."""


class SanctionBody(Body):
    """Whom to drain or block."""

    subject: Literal["worker", "platform"]
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,128}$")]
    action: Literal["drain", "block"]
    reason: Reason = ""


class Lifted(Body):
    """Whose sanction ends."""

    subject: Literal["worker", "platform"]
    id: Annotated[str, StringConstraints(max_length=128, pattern=NO_ZERO)]


class SanctionView(BaseModel):
    """A worker or machine that is taken out."""

    subject: str
    id: str
    action: str
    reason: str
    at: int


class SanctionPage(Paged):
    """Sanctions by subject and id."""

    sanctions: list[SanctionView]


class OfferView(BaseModel):
    """A worker's prices for a model."""

    hash: str
    worker: str
    model: str
    prices: dict[str, str]
    valid_until: int
    """Unix seconds, as in the offer."""
    max_concurrency: int
    live: bool


class OfferPage(Paged):
    """Offers by hash."""

    offers: list[OfferView]
