"""The owner's view as one JSON document; amounts are nano as text, times unix seconds. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from bombyx.control.document import HOUR_SECONDS, OfferDocument, WorkerDocument
from ton.owner.status.advice import Advice, advise
from ton.owner.status.claimable import payables_of, together
from ton.owner.status.problems import problems_of
from ton.owner.status.sight import Sight
from ton.owner.status.sums import (
    DAY_SECONDS,
    by_model,
    earned,
    refused,
    requests,
    since,
    utilisation,
)


def owner_document(sights: Sequence[Sight], *, at: int) -> dict[str, Any]:
    """Every worker, and sums over all of them."""
    workers = [_worker(sight) for sight in sights]
    payable = together(one for sight in sights for one in payables_of(sight))
    return {
        "at": at,
        "workers": workers,
        "payouts": [one.document() for one in payable],
        "totals": {
            "workers": len(workers),
            "serving": sum(one["serving"] for one in workers),
            "earned_hour_nano": _sum(workers, "earned_hour_nano"),
            "earned_day_nano": _sum(workers, "earned_day_nano"),
            "earned_kept_nano": _sum(workers, "earned_kept_nano"),
            "claimable_nano": str(sum(one.claimable for one in payable)),
            "unpaid_nano": str(sum(int(v) for one in workers for v in one["unpaid_nano"].values())),
        },
    }


def _sum(workers: Sequence[dict[str, Any]], name: str) -> str:
    return str(sum(int(one[name]) for one in workers))


def _worker(sight: Sight) -> dict[str, Any]:
    problems = problems_of(sight)
    document = sight.document
    told: dict[str, Any] = {
        "state": sight.state,
        "running": document is not None,
        "starting": sight.starts,
        "serving": document is not None and not any(one.stops for one in problems),
        "problems": [asdict(one) for one in problems],
        "gpus": sight.gpu,
        "gateways": _gateways(sight),
        "prices": [_advice(one) for one in advise(_offers(document), sight.heard)],
    }
    return told | (_alive(document) if document else _GONE)


def _offers(document: WorkerDocument | None) -> Sequence[OfferDocument]:
    return document.offers if document else ()


_GONE: dict[str, Any] = {
    "earned_hour_nano": "0",
    "earned_day_nano": "0",
    "earned_kept_nano": "0",
    "unpaid_nano": {},
    "models": [],
    "hours": [],
    "days": [],
}


def _alive(document: WorkerDocument) -> dict[str, Any]:
    hour = since(document.hours, document.at - HOUR_SECONDS)
    day = since(document.hours, document.at - DAY_SECONDS)
    return {
        "worker": document.worker,
        "version": document.version,
        "platform": document.platform,
        "payout": document.payout,
        "paused": document.paused,
        "keys_until": document.not_after,
        "sealed_by": document.state.get("sealed_by", ""),
        "rollback": document.state.get("rollback", ""),
        "slots": document.slots,
        "requests_now": document.running,
        "waiting_statements": document.undisposed,
        "unpaid_nano": document.unpaid_nano,
        "utilisation": {
            "hour": utilisation(document, seconds=HOUR_SECONDS),
            "day": utilisation(document, seconds=DAY_SECONDS),
        },
        "requests_hour": requests(hour),
        "requests_day": requests(day),
        "earned_hour_nano": str(earned(hour)),
        "earned_day_nano": str(earned(day)),
        "earned_kept_nano": str(earned(document.days)),
        "refused_day": refused(day),
        "models_day": by_model(day),
        "models": document.models,
        "offers": msgspec.to_builtins(document.offers),
        "links": msgspec.to_builtins(document.links),
        "hours": msgspec.to_builtins(document.hours),
        "days": msgspec.to_builtins(document.days),
    }


def _gateways(sight: Sight) -> list[dict[str, Any]]:
    return [
        {"origin": origin, "error": one}
        if isinstance(one, str)
        else {"origin": origin, "standing": msgspec.to_builtins(one)}
        for origin, one in sight.standings.items()
    ]


def _advice(one: Advice) -> dict[str, Any]:
    share = one.cheaper_share
    return {
        "gateway": one.origin,
        "model": one.model,
        "offers": one.offers,
        "cheaper": one.cheaper,
        "cheaper_share": None if share is None else round(share, 4),
        "own_cost_nano": None if one.own_cost is None else str(one.own_cost),
        "quartiles_nano": [str(cost) for cost in one.costs],
        "among_cheapest_quarter": one.is_cheap,
        "quarter_prices": None
        if one.prices is None
        else {name: str(value) for name, value in one.prices.items()},
        "middle_prices": {name: str(value) for name, value in one.middle_prices.items()},
    }
