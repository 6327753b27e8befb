"""The one router of `/admin/v1`, and what its routes share."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from gateway.accounts.repository import Accounts
from gateway.admin.schemas import ErrorView
from gateway.http import AdminDep, ContextDep

_SAID: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorView, "description": text}
    for status, text in (
        (400, "A parameter or the body is wrong."),
        (401, "No key, or one that is unknown."),
        (403, "The key is no admin key."),
        (404, "There is no such thing."),
    )
}

router = APIRouter(prefix="/admin/v1", tags=["admin"], responses=_SAID)


def accounts_of(context: ContextDep, key: AdminDep) -> Accounts:
    """The accounts, in the name of the key that asks."""
    return Accounts(context.engine, key.id)


AccountsDep = Annotated[Accounts, Depends(accounts_of)]
