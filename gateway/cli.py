"""`bombyx db`, `bombyx keys` and `bombyx ledger`; `bombyx gateway` is in gateway.processes."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory
from gateway.accounts.limits import write_limits
from gateway.accounts.repository import Accounts
from gateway.admin.reconcile import Reconciled, reconcile
from gateway.database import check, create_engine, upgrade
from gateway.metering.rows import KeyLimits
from gateway.metering.stores import open_store
from gateway.payouts.repository import uneven_payouts
from gateway.processes.command import OWNER_ONLY, gateway
from gateway.settings import GatewaySettings

__all__ = ["db", "gateway", "keys", "ledger"]

T = TypeVar("T")
db = typer.Typer(help="Create and check the gateway's database.", no_args_is_help=True)
keys = typer.Typer(help="API keys and the accounts that pay.", no_args_is_help=True)

ledger = typer.Typer(help="The books.", no_args_is_help=True)

StateOption = Annotated[Path | None, typer.Option("--state", help="Folder for keys and data.")]
UrlOption = Annotated[
    str | None, typer.Option("--database-url", help="sqlite:///path or postgresql://…")
]


def _database(settings: GatewaySettings, state: Path) -> str:
    return settings.database_url or f"sqlite:///{state / 'gateway.db'}"


def _resolve(database_url: str | None, state: Path | None) -> str:
    os.umask(OWNER_ONLY)
    settings, _ = load_settings(GatewaySettings, "gateway", {"database_url": database_url})
    return _database(settings, state_directory(state))


@db.command("upgrade")
def db_upgrade(
    *, database_url: UrlOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Bring the schema to this version; safe to repeat."""
    url = _resolve(database_url, state)
    asyncio.run(upgrade(url))
    Output(as_json=as_json).answer({"upgraded": True}, "the database is up to date")


@db.command("check")
def db_check(
    *, database_url: UrlOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Exit 0 when the schema is this version's, else say what differs."""
    url = _resolve(database_url, state)
    asyncio.run(check(url))
    Output(as_json=as_json).answer({"ok": True}, "the schema is this version's")


@db.command("audit")
def db_audit(
    *, database_url: UrlOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Exit 0 when all money comes out even, else say where it does not."""
    found = asyncio.run(_audit(_resolve(database_url, state)))
    wrong = [name for name, value in found.items() if value]
    if wrong:
        raise SetupError("the books do not come out even: " + ", ".join(wrong))
    Output(as_json=as_json).answer({"even": True}, "the books come out even")


async def _audit(url: str) -> dict[str, object]:
    """Each must be 0 or empty (SPEC 5, 6.9)."""
    await check(url)
    store, engine = await open_store(url), create_engine(url)
    try:
        return {
            "ledger sum": await store.ledger_sum(),
            "charges without a billed receipt": await store.billing_gap(),
            "balances unlike their entries": await store.unposted(),
            "accounts lent beyond their balance": await store.overcommitted(),
            "channels unlike their claims and entries": await store.uneven_channels(),
            "payout channels unlike their entries": await uneven_payouts(engine),
        }
    finally:
        await engine.dispose()
        await store.close()


@keys.command("create")
def keys_create(
    *,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "default",
    account: Annotated[str | None, typer.Option(help="An account; else a new one.")] = None,
    credit_nano: Annotated[int, typer.Option(help="Credit for the account, in nano.")] = 0,
    scope: Annotated[str, typer.Option(help="inference or admin.")] = "inference",
    database_url: UrlOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key; its secret is shown only now."""
    if scope not in {"inference", "admin"}:
        raise SetupError("the scope is inference or admin")
    url = _resolve(database_url, state)
    document = asyncio.run(
        _with_accounts(url, lambda of: _create_key(of, name, account, credit_nano, scope))
    )
    Output(as_json=as_json).answer(document, document["api_key"])


async def _create_key(
    accounts: Accounts, name: str, account: str | None, credit_nano: int, scope: str
) -> dict[str, Any]:
    owner = account or (await accounts.create(name)).id
    if credit_nano:
        await accounts.credit(owner, credit_nano, txn=f"admin_{secrets.token_hex(8)}")
    record, key = await accounts.create_key(
        owner, name=name, scope="admin" if scope == "admin" else "inference"
    )
    return {
        "account": owner,
        "api_key": key.secret,
        "key_id": record.id,
        "scope": record.scope,
        "credit_nano": str(credit_nano),
    }


AccountOption = Annotated[str, typer.Option(help="The account that the keys belong to.")]


@keys.command("list")
def keys_list(
    *,
    account: AccountOption,
    database_url: UrlOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """The keys of an account; their secrets are not kept."""
    found = asyncio.run(_with_accounts(_resolve(database_url, state), lambda of: of.keys(account)))
    lines = [
        "  ".join(
            (
                one.id,
                f"{one.prefix}…",
                one.scope,
                "revoked" if one.revoked_at else "valid",
                one.name,
            )
        )
        for one in found
    ]
    Output(as_json=as_json).answer(
        {"keys": [asdict(one) for one in found]}, *(lines or ["the account has no keys"])
    )


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it: key_….")],
    *,
    account: AccountOption,
    database_url: UrlOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key; running gateways refuse it within five seconds."""
    url = _resolve(database_url, state)
    asyncio.run(_with_accounts(url, lambda of: of.revoke_key(account, key_id)))
    Output(as_json=as_json).answer({"revoked": key_id}, f"{key_id} is revoked")


@keys.command("limit")
def keys_limit(  # noqa: PLR0913 - one parameter per flag
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it: key_….")],
    *,
    requests_per_minute: Annotated[int | None, typer.Option(help="Requests a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Tokens a minute.")] = None,
    concurrent: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    monthly_nano: Annotated[int | None, typer.Option(help="Nano a calendar month (UTC).")] = None,
    model: Annotated[list[str] | None, typer.Option(help="May name this model; repeat.")] = None,
    database_url: UrlOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set all limits of a key in place of those that it had; what is not named is not limited."""
    limits = KeyLimits(
        requests=requests_per_minute,
        tokens=tokens_per_minute,
        slots=concurrent,
        nano=monthly_nano,
        models=tuple(model) if model else None,
    )
    asyncio.run(_limit(_resolve(database_url, state), key_id, limits))
    Output(as_json=as_json).answer({"limited": key_id, **asdict(limits)}, f"{key_id} is limited")


async def _limit(url: str, key_id: str, limits: KeyLimits) -> None:
    await check(url)
    engine = create_engine(url)
    try:
        await write_limits(engine, key_id, limits, actor="cli")
    finally:
        await engine.dispose()


@ledger.command("reconcile")
def ledger_reconcile(
    *, database_url: UrlOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Prove that ledger and signed receipts say the same; exit 1 when they do not."""
    found = asyncio.run(_reconcile(_resolve(database_url, state)))
    document = {
        "even": found.even,
        "receipts": found.receipts,
        "charges": found.entries,
        "charged_nano": str(found.charged_nano),
        "differences": found.count,
        "named": found.differences,
    }
    summary = f"{found.receipts} receipts, {found.charged_nano} nano: " + (
        "the ledger is what was signed" if found.even else f"{found.count} differences"
    )
    Output(as_json=as_json).answer(document, summary, *found.differences)
    if not found.even:
        raise typer.Exit(1)


async def _reconcile(url: str) -> Reconciled:
    await check(url)
    engine = create_engine(url)
    try:
        return await reconcile(engine)
    finally:
        await engine.dispose()


async def _with_accounts(url: str, work: Callable[[Accounts], Awaitable[T]]) -> T:
    await check(url)
    engine = create_engine(url)
    try:
        return await work(Accounts(engine))
    finally:
        await engine.dispose()
