"""What a worker tells its owner of itself: the reply to the order `status`.

Read tolerantly: tool and worker may be of different versions. No content, and nothing of any
single request: counts by hour and model, sums, sentences.
"""

from typing import Any

import msgspec

from bombyx.errors import SetupError

HOUR_SECONDS = 3600
DAY_HOURS = 24
SHOWN_HOURS = 48
"""By hour; what is older is told by day."""
KEPT_DAYS = 90


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one hour or day with one model.

    `start` in unix seconds; `requests` that were answered and signed, tokens as signed, earned
    without the gateway's fee; `busy_ms` is the sum over requests of how long each held a slot;
    `refused` by error code, failures of the engine among them. The model is empty for refusals
    that never came to name one.
    """

    start: int
    model: str
    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    earned_nano: str = "0"
    busy_ms: int = 0
    refused: dict[str, int] = {}


class Notice(msgspec.Struct, frozen=True):
    """Something that is wrong now, in a sentence; times in unix milliseconds."""

    name: str
    sentence: str
    since: int = 0
    last: int = 0
    times: int = 1


class Link(msgspec.Struct, frozen=True):
    """A link that is kept up to one process of a gateway; `gateway` is its key while it stands."""

    url: str
    gateway: str = ""


class OfferDocument(msgspec.Struct, frozen=True):
    """What is asked for a model now, in nano per million tokens."""

    model: str
    prices: dict[str, str]
    valid_until: int
    max_concurrency: int


class WorkerDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it is; times in unix seconds where they do not say otherwise."""

    worker: str
    platform: str
    payout: str
    paused: bool
    gateways: list[str]
    models: list[str]
    running: int
    undisposed: int
    unpaid_nano: dict[str, str]
    """By the gateway's key."""
    state: dict[str, Any] = {}
    notices: list[Notice] = []
    version: str = ""
    at: int = 0
    not_after: int = 0
    """When its keyset ends."""
    origins: list[str] = []
    """The gateways as its owner named them."""
    links: list[Link] = []
    offers: list[OfferDocument] = []
    slots: int = 0
    hours: list[Counts] = []
    days: list[Counts] = []


class LastWords(msgspec.Struct, frozen=True):
    """Why a worker's process ended, in a file of its state folder; `at` in unix milliseconds."""

    at: int
    code: str
    sentence: str


LAST_WORDS = "worker-stopped.json"


def read_document(told: dict[str, Any]) -> WorkerDocument:
    """Raises `SetupError` for a worker that tells something else."""
    try:
        return msgspec.convert(told, WorkerDocument)
    except msgspec.ValidationError as error:
        raise SetupError(f"the worker is of another version than this tool ({error})") from None
