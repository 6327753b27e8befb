"""`/admin/v1`: accounts, credit, keys and their limits."""

from gateway.accounts.limits import read_limits, write_limits
from gateway.admin.paging import Cursor, Limit, cut, read_cursor
from gateway.admin.router import AccountsDep, router
from gateway.admin.schemas import (
    AccountPage,
    AccountView,
    CreatedKey,
    Credit,
    Credited,
    KeyPage,
    KeyView,
    Limits,
    NewAccount,
    NewKeyBody,
)
from gateway.http import AdminDep, ContextDep


@router.post("/accounts", status_code=201)
async def create_account(body: NewAccount, accounts: AccountsDep) -> AccountView:
    """A new account with nothing on it."""
    return AccountView.of(await accounts.create(body.name))


@router.get("/accounts")
async def list_accounts(
    accounts: AccountsDep, limit: Limit = 100, cursor: Cursor = None
) -> AccountPage:
    """All accounts by id: clients, workers' owners, the gateway's own."""
    after = read_cursor(cursor, tuple[str]) or ("",)
    found = await accounts.list(after=after[0], limit=limit + 1)
    page, following = cut(found, limit, lambda one: (one.id,))
    return AccountPage(accounts=[AccountView.of(one) for one in page], next_cursor=following)


@router.get("/accounts/{account_id}")
async def get_account(account_id: str, accounts: AccountsDep) -> AccountView:
    """One account and what it holds, running reserves included."""
    return AccountView.of(await accounts.get(account_id))


@router.post("/accounts/{account_id}/close")
async def close_account(account_id: str, accounts: AccountsDep) -> AccountView:
    """Revoke all its keys and refuse it new ones; what it holds stays posted."""
    return AccountView.of(await accounts.close(account_id))


@router.post("/accounts/{account_id}/credit")
async def credit_account(account_id: str, body: Credit, accounts: AccountsDep) -> Credited:
    """Give it money; the same `txn` again books nothing, with another amount it is refused."""
    booked = await accounts.credit(account_id, int(body.amount_nano), txn=body.txn, ref=body.ref)
    return Credited(booked=booked, account=AccountView.of(await accounts.get(account_id)))


@router.post("/keys", status_code=201)
async def create_key(body: NewKeyBody, accounts: AccountsDep) -> CreatedKey:
    """A key; its secret, `api_key`, is in this answer and nowhere else."""
    limits = body.limits.stored()
    record, key = await accounts.create_key(
        body.account, name=body.name, scope=body.scope, expires_at=body.expires_at, limits=limits
    )
    view = KeyView.of(record, limits)
    return CreatedKey(**view.model_dump(), api_key=key.secret)


@router.get("/keys")
async def list_keys(
    context: ContextDep,
    accounts: AccountsDep,
    account: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> KeyPage:
    """Keys by id, revoked ones included; of one account where it is named."""
    after = read_cursor(cursor, tuple[str]) or ("",)
    found = await accounts.all_keys(account=account, after=after[0], limit=limit + 1)
    page, following = cut(found, limit, lambda one: (one.id,))
    limits = await read_limits(context.engine, [one.id for one in page])
    return KeyPage(
        keys=[KeyView.of(one, limits.get(one.id)) for one in page], next_cursor=following
    )


@router.get("/keys/{key_id}")
async def get_key(key_id: str, context: ContextDep, accounts: AccountsDep) -> KeyView:
    """One key and its limits."""
    record = await accounts.key(key_id)
    return KeyView.of(record, (await read_limits(context.engine, [key_id])).get(key_id))


@router.post("/keys/{key_id}/revoke")
async def revoke_key(key_id: str, context: ContextDep, accounts: AccountsDep) -> KeyView:
    """End a key; running gateways refuse it within five seconds."""
    record = await accounts.key(key_id)
    await accounts.revoke_key(record.account, key_id)
    return await get_key(key_id, context, accounts)


@router.post("/keys/{key_id}/limits")
async def limit_key(
    key_id: str, body: Limits, context: ContextDep, accounts: AccountsDep, key: AdminDep
) -> KeyView:
    """Set all its limits, in place of those that it had; they hold within five seconds."""
    await write_limits(context.engine, key_id, body.stored(), actor=key.id)
    return await get_key(key_id, context, accounts)
