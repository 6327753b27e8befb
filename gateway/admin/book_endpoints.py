"""`/admin/v1`: claims, receipts, the ledger, usage and the audit log."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from fastapi.responses import Response

from bombyx.errors import NotFound
from gateway.accounts.audit import read_changes
from gateway.accounts.repository import Entry
from gateway.admin.paging import Cursor, Limit, cut, read_cursor
from gateway.admin.reading import ClaimRow, Reading, ReceiptRow
from gateway.admin.router import router
from gateway.admin.schemas import (
    AuditPage,
    ChangeView,
    ClaimPage,
    ClaimView,
    EntryView,
    FullReceipt,
    LedgerPage,
    ReceiptPage,
    ReceiptView,
    UsagePage,
    UsageRow,
)
from gateway.admin.usage import (
    COLUMNS,
    Span,
    Used,
    as_csv,
    as_parquet,
    day_number,
    day_text,
    read_all,
    read_usage,
)
from gateway.context import unix_seconds
from gateway.http import AdminDep, ContextDep

SECONDS_PER_DAY = 86_400
DEFAULT_DAYS = 30

_C = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]
_Day = Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}-\d{2}$")]


@router.get("/ledger")
async def ledger(
    context: ContextDep,
    _key: AdminDep,
    account: str | None = None,
    kind: Literal["credit", "charge", "earning", "fee"] | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> LedgerPage:
    """The latest entries first, and the sum of the whole ledger, which is always 0."""
    before = read_cursor(cursor, tuple[int])
    found = await Reading(context.engine).ledger(
        account=account, kind=kind, before=before[0] if before else None, limit=limit + 1
    )
    page, following = cut(found, limit, lambda one: (one.id,))
    return LedgerPage(
        entries=[_entry(one) for one in page],
        sum_nano=str(await context.store.ledger_sum()),
        next_cursor=following,
    )


def _entry(entry: Entry) -> EntryView:
    return EntryView(
        id=entry.id,
        txn=entry.txn,
        account=entry.account,
        amount_nano=str(entry.amount_nano),
        kind=entry.kind,
        ref=entry.ref,
        at=entry.at,
    )


@router.get("/claims")
async def list_claims(
    context: ContextDep,
    _key: AdminDep,
    state: Literal["open", "settled"] | None = None,
    account: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ClaimPage:
    """Claims, the latest first."""
    found = await Reading(context.engine).claims(
        state=state, account=account, before=_before(cursor), limit=limit + 1
    )
    page, following = cut(found, limit, lambda one: (one.created_at, one.c.hex()))
    return ClaimPage(claims=[_claim(one) for one in page], next_cursor=following)


def _before(cursor: str | None) -> tuple[int, str] | None:
    """Raises `RequestError` for a cursor of another list."""
    return read_cursor(cursor, tuple[int, Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]])


@router.get("/claims/{c}")
async def get_claim(c: str, context: ContextDep, _key: AdminDep) -> ClaimView:
    """One claim by its commitment."""
    found = await Reading(context.engine).claim(_commitment(c))
    if found is None:
        raise NotFound("there is no such claim")
    return _claim(found)


def _commitment(c: str) -> bytes:
    try:
        return bytes.fromhex(c)
    except ValueError:
        raise NotFound("there is no such claim") from None


def _claim(row: ClaimRow) -> ClaimView:
    return ClaimView(
        c=row.c.hex(),
        id=row.id,
        account=row.account,
        key=row.key,
        tier=row.tier,
        model=row.model,
        state=row.state,
        reserve_nano=str(row.reserve),
        charge_nano=None if row.charge is None else str(row.charge),
        worker=row.winner or "",
        attempts=row.attempts,
        slot=row.slot,
        created_at=row.created_at,
        deadline=row.deadline,
        statement_hash=row.statement_hash.hex() if row.statement_hash else None,
    )


@router.get("/claims/{c}/receipts")
async def claim_receipts(c: str, context: ContextDep, _key: AdminDep) -> list[FullReceipt]:
    """Every judged statement of a claim with its proof, the earliest first."""
    return [
        FullReceipt(
            statement_hash=one.statement_hash.hex(),
            c=one.c.hex(),
            id=one.id,
            worker=one.worker,
            status=one.status,
            disposition=one.disposition.value,
            code=one.code,
            charge_nano=str(one.charge),
            at=one.at,
            receipt=msgspec.json.decode(one.document, type=dict[str, Any]),
        )
        for one in await context.store.receipts_of(_commitment(c))
    ]


@router.get("/receipts")
async def list_receipts(
    context: ContextDep,
    _key: AdminDep,
    disposition: Literal["billed", "superseded", "expired", "invalid"] = "billed",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ReceiptPage:
    """Judged statements of one disposition, the latest first."""
    reading = Reading(context.engine)
    found = await reading.receipts(disposition=disposition, before=_before(cursor), limit=limit + 1)
    following = None
    if len(found) > limit:
        found = found[:limit]
        last = found[-1]
        if disposition == "billed":
            where = (await reading.claimed_at(last.c), last.c.hex())
        else:
            where = (last.at, last.statement_hash.hex())
        _, following = cut([last, last], 1, lambda _: where)
    return ReceiptPage(receipts=[_receipt(one) for one in found], next_cursor=following)


def _receipt(row: ReceiptRow) -> ReceiptView:
    return ReceiptView(
        statement_hash=row.statement_hash.hex(),
        c=row.c.hex(),
        id=row.id,
        worker=row.worker,
        status=row.status,
        disposition=row.disposition,
        code=row.code,
        charge_nano=str(row.charge_nano),
        at=row.at,
    )


def _span(
    first: str | None, last: str | None, account: str | None, key: str | None, model: str | None
) -> Span:
    today = unix_seconds() // SECONDS_PER_DAY
    until = today if last is None else day_number(last, "to")
    since = until - DEFAULT_DAYS + 1 if first is None else day_number(first, "from")
    return Span(since, until, account, key, model)


@router.get("/usage")
async def usage(
    context: ContextDep,
    _key: AdminDep,
    first: Annotated[_Day, Query(alias="from")] = None,
    last: Annotated[_Day, Query(alias="to")] = None,
    account: str | None = None,
    key: str | None = None,
    model: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> UsagePage:
    """What was billed by UTC day, account, key, tier and model; the last 30 days by default."""
    found = await read_usage(
        context.engine,
        _span(first, last, account, key, model),
        after=read_cursor(cursor, tuple[int, str, str, str, str]),
        limit=limit + 1,
    )
    page, following = cut(found, limit, lambda one: one.position)
    return UsagePage(usage=[_used(one) for one in page], next_cursor=following)


def _used(row: Used) -> UsageRow:
    return UsageRow.model_validate(dict(zip(COLUMNS, row.values(), strict=True)))


@router.get(
    "/usage/export",
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
                "application/vnd.apache.parquet": {"schema": {"type": "string"}},
            }
        }
    },
)
async def export_usage(
    context: ContextDep,
    _key: AdminDep,
    format: Literal["csv", "json", "parquet"] = "csv",  # noqa: A002 - the parameter's name
    first: Annotated[_Day, Query(alias="from")] = None,
    last: Annotated[_Day, Query(alias="to")] = None,
    account: str | None = None,
    key: str | None = None,
    model: str | None = None,
) -> Response:
    """The same as one file; Parquet where the gateway has the extra `parquet`."""
    span = _span(first, last, account, key, model)
    rows = await read_all(context.engine, span)
    if format == "csv":
        content, media = as_csv(rows), "text/csv; charset=utf-8"
    elif format == "json":
        listed = [dict(zip(COLUMNS, row.values(), strict=True)) for row in rows]
        content, media = msgspec.json.encode(listed), "application/json"
    else:
        content, media = as_parquet(rows), "application/vnd.apache.parquet"
    name = f"usage-{day_text(span.first)}-{day_text(span.last)}.{format}"
    disposition = f'attachment; filename="{name}"'
    return Response(content, media_type=media, headers={"content-disposition": disposition})


@router.get("/audit")
async def audit(
    context: ContextDep,
    _key: AdminDep,
    target: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AuditPage:
    """Who changed what, the latest first; the log can only grow."""
    before = read_cursor(cursor, tuple[int])
    found = await read_changes(
        context.engine, target=target, before=before[0] if before else None, limit=limit + 1
    )
    page, following = cut(found, limit, lambda one: (one.id,))
    return AuditPage(
        changes=[
            ChangeView(
                id=one.id,
                at=one.at,
                actor=one.actor,
                action=one.action,
                target=one.target,
                detail=msgspec.json.decode(one.detail, type=dict[str, Any]),
            )
            for one in page
        ],
        next_cursor=following,
    )
