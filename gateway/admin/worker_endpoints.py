"""`/admin/v1`: workers with their evidence, who is drained or blocked, and offers."""

import time
from typing import Any

import msgspec

from bombyx.errors import NotFound
from gateway.admin.paging import Cursor, Limit, cut, read_cursor
from gateway.admin.router import router
from gateway.admin.worker_schemas import (
    EvidenceView,
    Lifted,
    ModelLoad,
    OfferPage,
    OfferView,
    Reputation,
    SanctionBody,
    SanctionPage,
    SanctionView,
    StepView,
    WorkerPage,
    WorkerView,
)
from gateway.context import unix_seconds
from gateway.directory.standing import repute_of
from gateway.http import AdminDep, ContextDep
from gateway.workers.registry import Listed, Quote


def _worker(listed: Listed) -> WorkerView:
    verified = listed.verified
    return WorkerView(
        worker=listed.worker,
        platform=verified.platform,
        platform_id=verified.platform_id,
        payout=listed.payout,
        expires_at=verified.expires_at,
        draining=not listed.link.open_for_requests,
        reputation=Reputation(**msgspec.structs.asdict(repute_of(listed, time.monotonic()))),
        models={
            model: ModelLoad(
                running=listed.running(model),
                waiting=listed.waiting(model),
                slots=listed.slots(model),
            )
            for model in listed.current
        },
        steps=[
            StepView(name=step.name.value, result=step.result.value, detail=step.detail)
            for step in verified.steps
        ],
    )


@router.get("/workers")
async def list_workers(
    context: ContextDep, _key: AdminDep, limit: Limit = 100, cursor: Cursor = None
) -> WorkerPage:
    """Workers linked to this process by id, with their verification steps and load."""
    after = (read_cursor(cursor, tuple[str]) or ("",))[0]
    found = sorted((one for one in context.registry.all() if one.worker > after), key=_named)
    page, following = cut(found, limit, lambda one: (one.worker,))
    return WorkerPage(workers=[_worker(one) for one in page], next_cursor=following)


def _named(listed: Listed) -> str:
    return listed.worker


@router.get("/workers/{worker}/evidence")
async def get_evidence(worker: str, context: ContextDep, _key: AdminDep) -> EvidenceView:
    """What a worker showed when it came, also long after it left."""
    shown = await context.archive.shown(worker)
    if shown is None:
        raise NotFound("there is no such worker")
    return EvidenceView(
        worker=worker,
        first_seen=shown.first_seen,
        last_seen=shown.last_seen,
        keyset=_json(shown.keyset),
        evidence=_json(shown.evidence),
        collateral=shown.collateral,
    )


def _json(document: bytes) -> dict[str, Any]:
    return msgspec.json.decode(document, type=dict[str, Any])


@router.get("/workers/{worker}")
async def get_worker(worker: str, context: ContextDep, _key: AdminDep) -> WorkerView:
    """One worker that is linked to this process."""
    for listed in context.registry.all():
        if listed.worker == worker:
            return _worker(listed)
    raise NotFound("no such worker is linked here")


@router.get("/sanctions")
async def list_sanctions(
    context: ContextDep, _key: AdminDep, limit: Limit = 100, cursor: Cursor = None
) -> SanctionPage:
    """Who is drained or blocked."""
    after = read_cursor(cursor, tuple[str, str]) or ("", "")
    found = [one for one in await context.sanctions.all() if (one.subject, one.id) > after]
    page, following = cut(found, limit, lambda one: (one.subject, one.id))
    return SanctionPage(
        sanctions=[
            SanctionView(
                subject=one.subject, id=one.id, action=one.action, reason=one.reason, at=one.at
            )
            for one in page
        ],
        next_cursor=following,
    )


@router.post("/sanctions", status_code=201)
async def put_sanction(body: SanctionBody, context: ContextDep, key: AdminDep) -> SanctionView:
    """Drain: nothing new goes there. Block: the link is dropped, and refused from now on.

    `subject: platform` names a machine, whichever worker runs on it. All processes follow within
    two seconds.
    """
    await context.sanctions.put(
        body.subject, body.id, body.action, reason=body.reason, actor=key.id
    )
    found = {(one.subject, one.id): one for one in await context.sanctions.all()}
    one = found.get((body.subject, body.id))
    if one is None:
        raise NotFound("the sanction was lifted meanwhile")
    return SanctionView(
        subject=one.subject, id=one.id, action=one.action, reason=one.reason, at=one.at
    )


@router.post("/sanctions/lift", status_code=204)
async def lift_sanction(body: Lifted, context: ContextDep, key: AdminDep) -> None:
    """Let a worker or machine take requests again."""
    await context.sanctions.lift(body.subject, body.id, actor=key.id)


@router.get("/offers")
async def list_offers(
    context: ContextDep,
    _key: AdminDep,
    model: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> OfferPage:
    """Offers of the workers linked to this process, by hash; `live` are those that are listed."""
    after = (read_cursor(cursor, tuple[str]) or ("",))[0]
    found = sorted(
        (
            (listed, quote)
            for listed in context.registry.all()
            for quote in listed.quotes.values()
            if quote.hash > after and model in {None, quote.offer.model}
        ),
        key=lambda pair: pair[1].hash,
    )
    page, following = cut(found, limit, lambda pair: (pair[1].hash,))
    return OfferPage(
        offers=[_offer(listed, quote) for listed, quote in page], next_cursor=following
    )


def _offer(listed: Listed, quote: Quote) -> OfferView:
    offer, now = quote.offer, unix_seconds()
    return OfferView(
        hash=quote.hash,
        worker=listed.worker,
        model=offer.model,
        prices=msgspec.to_builtins(offer.prices),
        valid_until=offer.valid_until,
        max_concurrency=offer.max_concurrency,
        live=listed.is_shown(now) and listed.live_quote(offer.model, now) is quote,
    )
