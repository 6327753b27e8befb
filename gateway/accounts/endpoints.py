"""`GET /v1/key`: what a key may use and has used, for whoever holds it."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from gateway.accounts.repository import Accounts
from gateway.admin.schemas import Limits
from gateway.http import ContextDep, KeyDep
from gateway.metering.rationing import month_start
from gateway.metering.rows import KeyLimits

router = APIRouter(prefix="/v1", tags=["key"])


class Spend(BaseModel):
    """Nano of this calendar month (UTC): billed, and reserved by requests that still run."""

    month_nano: str
    left_nano: str | None
    """Of the monthly budget; null without one."""


class OwnKey(BaseModel):
    """A key as it sees itself; times in unix milliseconds."""

    object: Literal["key"] = "key"
    id: str
    name: str
    prefix: str
    account: str
    scope: str
    created_at: int
    expires_at: int | None
    limits: Limits
    spend: Spend


@router.get("/key")
async def own_key(context: ContextDep, key: KeyDep) -> OwnKey:
    """The caller's own key: its limits and what it spent this month."""
    record = await Accounts(context.engine).key(key.id)
    limits = key.limits or KeyLimits()
    month = month_start(await context.store.now_ms())
    spent = await context.store.spent(key.id, month)
    left = None if limits.nano is None else str(max(0, limits.nano - spent))
    return OwnKey(
        id=record.id,
        name=record.name,
        prefix=record.prefix,
        account=record.account,
        scope=record.scope,
        created_at=record.created_at,
        expires_at=record.expires_at,
        limits=Limits.of(limits),
        spend=Spend(month_nano=str(spent), left_nano=left),
    )
