"""`GET /v1/confidential/workers` and `GET /v1/models`: relayed words, vouched for by nobody.

And without a key, for workers and their owners, who have none: `GET /v1/gateways`, by which all
processes of a gateway are found (SPEC 10.5), and a worker's standing (SPEC 13.9).
"""

import re
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from msgspec import UNSET, UnsetType

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.directory import Directory, Entry
from bombyx.errors import ModelNotFound, NotFound
from bombyx.link.processes import LiveProcess, ProcessList
from bombyx.link.standing import MAX_MODELS, Place, WorkerStanding
from gateway.context import Context, unix_seconds
from gateway.directory.standing import (
    asked_models,
    model_standing,
    place_of,
    reason_of,
    repute_of,
)
from gateway.http import ContextDep, KeyDep
from gateway.workers.registry import HONOUR_SECONDS, Quote

router = APIRouter(prefix="/v1", tags=["directory"])

_JSON = "application/json"
NAME = r"^[A-Za-z0-9._:/@+-]{1,128}$"
_WORKER = re.compile(r"[0-9a-f]{64}")


def directory_of(context: Context, model: str, now: int) -> Directory:
    """Every worker with a live offer for the model, its evidence verbatim."""
    collateral: dict[str, Collateral] = {}
    entries = []
    for listed, quote in context.registry.serving(model, now):
        named = listed.evidence.collateral
        if isinstance(named, str) and listed.collateral is not None:
            collateral[named] = listed.collateral
        entries.append(
            Entry(keyset=listed.verified.keyset, evidence=listed.evidence, offers=[quote.signed])
        )
    for remote, quote in context.neighbours.offers(now + HONOUR_SECONDS):
        if quote.offer.model != model:
            continue
        named = remote.evidence.collateral
        if isinstance(named, str) and remote.collateral is not None:
            collateral[named] = remote.collateral
        entries.append(Entry(keyset=remote.keyset, evidence=remote.evidence, offers=[quote.signed]))
    settings = context.settings
    return Directory(
        gateway=context.gateway,
        fee_bps=settings.fee_bps,
        default_max_output_tokens=settings.default_max_output_tokens,
        deadline_s=settings.max_duration_s + settings.settlement_grace_s,
        now=now,
        workers=entries,
        collateral=collateral,
    )


@router.get("/confidential/workers", response_class=Response)
async def workers(
    context: ContextDep, _key: KeyDep, model: Annotated[str, Query(max_length=128)]
) -> Response:
    """Keysets, evidence, offers and collateral of the workers that serve a model."""
    directory = await context.beside.completed(directory_of(context, model, unix_seconds()))
    return Response(msgspec.json.encode(directory), media_type=_JSON)


@router.get("/confidential/workers/{worker}/standing", response_class=Response)
async def standing(
    worker: str,
    context: ContextDep,
    model: Annotated[
        list[Annotated[str, Query(pattern=NAME)]] | None, Query(max_length=MAX_MODELS)
    ] = None,
) -> Response:
    """Whether a worker is asked, why not, and how its prices compare; `model` adds others."""
    if not _WORKER.fullmatch(worker):
        raise NotFound("a worker is named by 64 digits of hex")
    return Response(
        msgspec.json.encode(standing_of(context, worker, model or ())), media_type=_JSON
    )


def standing_of(context: Context, worker: str, wanted: Sequence[str]) -> WorkerStanding:
    """A worker as this process knows it, at this moment."""
    now, monotonic = unix_seconds(), time.monotonic()
    listed = next((one for one in context.registry.all() if one.worker == worker), None)
    reason = reason_of(listed, elsewhere=bool(context.neighbours.holding([worker])), now=now)
    models = []
    for name in asked_models(listed, wanted):
        offers = _offers(context, name, now)
        own: Place | UnsetType = UNSET
        if listed is not None and reason == "listed":
            own = place_of(listed, name, offers, now=now, monotonic=monotonic)
        models.append(model_standing(name, offers, own=own))
    return WorkerStanding(
        worker=worker,
        gateway=context.gateway,
        at=now,
        listed=reason in {"listed", "elsewhere"},
        reason=reason,
        queue=len(context.dispatcher.router.room),
        models=models,
        repute=UNSET if listed is None else repute_of(listed, monotonic),
    )


def _offers(context: Context, model: str, now: int) -> list[Quote]:
    """Live offers for one model, of workers linked to any process."""
    found = [quote for _, quote in context.registry.routable(model, now)]
    return found + [
        quote
        for _, quote in context.neighbours.offers(now + HONOUR_SECONDS)
        if quote.offer.model == model
    ]


def _models(context: Context, now: int) -> dict[str, list[Quote]]:
    """Live offers by model, of workers linked to any process."""
    found = context.registry.models(now)
    for _, quote in context.neighbours.offers(now + HONOUR_SECONDS):
        found.setdefault(quote.offer.model, []).append(quote)
    return found


def _model(name: str, quotes: list[Quote], now: int) -> dict[str, Any]:
    """OpenAI's model object, with what is offered for it."""
    cheapest = min(quotes, key=lambda quote: quote.rates.completion)
    return {
        "id": name,
        "object": "model",
        "created": now,
        "owned_by": "bombyx",
        "bombyx": {
            "workers": len(quotes),
            "context": max(quote.record.context for quote in quotes),
            "prices_nano_per_million": msgspec.to_builtins(cheapest.offer.prices),
            "weights": sorted({quote.record.weights for quote in quotes}),
        },
    }


@router.get("/models")
async def models(context: ContextDep, _key: KeyDep) -> dict[str, Any]:
    """Models with a live offer, in OpenAI's shape."""
    now = unix_seconds()
    found = _models(context, now)
    return {
        "object": "list",
        "data": [_model(name, quotes, now) for name, quotes in sorted(found.items())],
    }


@router.get("/models/{name:path}")
async def model(name: str, context: ContextDep, _key: KeyDep) -> dict[str, Any]:
    """One model; ids may contain slashes."""
    now = unix_seconds()
    quotes = _models(context, now).get(name)
    if not quotes:
        raise ModelNotFound("no worker serves this model now", param="model")
    return _model(name, quotes, now)


@router.get("/gateways", response_class=Response)
async def gateways(context: ContextDep) -> Response:
    """The live processes of this gateway, for workers, which have no key."""
    own = LiveProcess(
        context.meter.slot, context.meter.epoch, context.link_url, draining=context.draining
    )
    listed = sorted([own, *context.neighbours.listed()], key=lambda one: one.slot)
    answer = ProcessList(gateway=context.gateway, data=listed)
    return Response(msgspec.json.encode(answer), media_type=_JSON)
