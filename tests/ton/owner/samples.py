"""A worker as its owner's tools see it: healthy, until a test changes one thing."""

from dataclasses import replace
from typing import Any

import msgspec

from bombyx.control.document import Counts, Link, OfferDocument, WorkerDocument
from bombyx.link.standing import Market, ModelStanding, Place, Repute, Spread, WorkerStanding
from ton.owner.status.sight import Sight

AT = 1_800_000_000
HOUR = AT - AT % 3600
ORIGIN = "https://gateway.example"
MODEL = "smollm2-135m-instruct"
GATEWAY, WORKER = "ab" * 32, "cd" * 32
PRICES = {
    "prompt": "20000000",
    "cached": "5000000",
    "completion": "60000000",
    "reasoning": "60000000",
}
COST = 50_000


def counts(back: int = 0, model: str = MODEL, **changes: Any) -> Counts:
    given: dict[str, Any] = {
        "start": HOUR - back * 3600,
        "model": model,
        "requests": 40,
        "prompt": 36_000,
        "cached": 9_000,
        "completion": 8_000,
        "earned_nano": "1065000",
        "busy_ms": 3_600_000,
    }
    return Counts(**{**given, **changes})


def document(**changes: Any) -> WorkerDocument:
    given: dict[str, Any] = {
        "worker": WORKER,
        "platform": "tdx",
        "payout": "0:" + "ef" * 32,
        "paused": False,
        "gateways": ["wss://gateway.example/v1/workers/link/0"],
        "models": [MODEL],
        "running": 1,
        "undisposed": 0,
        "unpaid_nano": {GATEWAY: "3195000"},
        "state": {"sealed_by": "vtpm", "rollback": "none", "reason": "as new as its counter"},
        "version": "0.1.0",
        "at": AT,
        "not_after": AT + 40_000,
        "origins": [ORIGIN],
        "links": [Link("wss://gateway.example/v1/workers/link/0", GATEWAY)],
        "offers": [OfferDocument(MODEL, PRICES, AT + 600, 4)],
        "slots": 4,
        "hours": [counts(2), counts(1), counts(0)],
        "days": [counts(0, start=AT - AT % 86_400, requests=120, earned_nano="3195000")],
    }
    return WorkerDocument(**{**given, **changes})


def spread(middle: int) -> Spread:
    return Spread(low=str(middle // 2), middle=str(middle), high=str(middle * 2))


def model(**changes: Any) -> ModelStanding:
    prices = (int(PRICES[name]) for name in ("prompt", "cached", "completion", "reasoning"))
    market = Market(spread(COST), *map(spread, prices))
    own = Place(str(COST), cheaper=2, slots=4, running=1, waiting=0, held_back=False)
    return msgspec.structs.replace(ModelStanding(MODEL, 8, market, own), **changes)


def place(**changes: Any) -> ModelStanding:
    own = model().own
    assert own
    return model(own=msgspec.structs.replace(own, **changes))


def repute(**changes: Any) -> Repute:
    healthy = Repute(
        breaker="closed",
        success=0.99,
        answer_s=3.1,
        first_token_s=0.4,
        tokens_per_second=74.0,
        at_once=24,
        answered=120,
        failed=1,
        refused={"client": 2},
    )
    return msgspec.structs.replace(healthy, **changes)


def standing(**changes: Any) -> WorkerStanding:
    given = WorkerStanding(
        worker=WORKER,
        gateway=GATEWAY,
        at=AT,
        listed=True,
        reason="listed",
        queue=0,
        models=[model()],
        repute=repute(),
    )
    return msgspec.structs.replace(given, **changes)


def gpus(**changes: Any) -> dict[str, Any]:
    one = {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "utilisation": 61,
        "memory_used": 60 * 2**30,
        "memory_total": 80 * 2**30,
        "temperature": 58,
        "power_mw": 410_000,
        "ecc_uncorrected": 0,
        "xids": 0,
    }
    state = {"environment": 2, "feature": True, "devtools": False, "multi_gpu": 0, "ready": True}
    return {"at": AT * 1000, "confidential": state, "gpus": [{**one, **changes}]}


def sight(**changes: Any) -> Sight:
    given = Sight(
        state="state",
        at=AT,
        document=document(),
        gpu=gpus(),
        standings={ORIGIN: standing()},
    )
    return replace(given, **changes)
