"""`/admin/v1`: the ledger and the state of workers."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.accounts.repository import Accounts
from gateway.http import AdminDep, ContextDep

router = APIRouter(prefix="/admin/v1", tags=["admin"])

_Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/ledger")
async def ledger(context: ContextDep, _key: AdminDep, limit: _Limit = 100) -> dict[str, Any]:
    """The latest entries over all accounts, and their sum over the whole ledger (always 0)."""
    entries = await Accounts(context.engine).latest_entries(limit=limit)
    return {
        "entries": [
            {
                "id": entry.id,
                "txn": entry.txn,
                "account": entry.account,
                "amount_nano": str(entry.amount_nano),
                "kind": entry.kind,
                "ref": entry.ref,
                "at": entry.at,
            }
            for entry in entries
        ],
        "sum_nano": str(await context.store.ledger_sum()),
    }


@router.get("/workers")
async def workers(context: ContextDep, _key: AdminDep) -> dict[str, Any]:
    """Linked workers with their verification steps and load."""
    return {
        "workers": [
            {
                "worker": listed.worker,
                "platform": listed.verified.platform,
                "payout": listed.payout,
                "expires_at": listed.verified.expires_at,
                "models": {
                    model: {
                        "running": listed.running(model),
                        "waiting": listed.waiting(model),
                        "slots": listed.slots(model),
                    }
                    for model in listed.current
                },
                "steps": [
                    {"name": step.name, "result": step.result, "detail": step.detail}
                    for step in listed.verified.steps
                ],
            }
            for listed in context.registry.all()
        ]
    }
