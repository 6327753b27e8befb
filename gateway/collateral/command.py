"""`bombyx collateral`: vendors' documents as a file, for gateways and workers that are offline."""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from bombyx import canonical
from bombyx.attestation.vendor import VendorFile, VendorItem, read_document
from bombyx.cli.output import JsonOption, Output
from bombyx.collateral_file import read_collateral_file
from bombyx.errors import SetupError
from bombyx.settings import load_settings, state_directory
from gateway.cli import StateOption, UrlOption
from gateway.collateral.repository import Kept, Shelf
from gateway.collateral.service import CollateralService
from gateway.collateral.vendors import Vendors
from gateway.context import unix_seconds
from gateway.database import check, create_engine
from gateway.processes.command import OWNER_ONLY
from gateway.settings import GatewaySettings

T = TypeVar("T")

collateral = typer.Typer(help="Vendors' words about platforms, as a file.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(help="The file of collateral.")]


@collateral.command("status")
def status(
    *, database_url: UrlOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """What the gateway keeps, and until when each document is good."""
    kept = asyncio.run(_with_service(database_url, state, lambda of: of.shelf.all()))
    now = unix_seconds()
    document = {"documents": [_told(one, now) for one in kept]}
    lines = [_line(one, now) for one in kept] or ["no vendor's document is kept"]
    Output(as_json=as_json).answer(document, *lines)


@collateral.command("export")
def export_file(
    file: FileArgument,
    *,
    database_url: UrlOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every document that is still good to a file."""
    now = unix_seconds()
    kept = asyncio.run(_with_service(database_url, state, lambda of: of.shelf.all()))
    items = [_item(one) for one in kept if now < one.next_update]
    _write(file, canonical.encode(VendorFile(v="bombyx-collateral/1", items=items)))
    names = [item.name for item in items]
    Output(as_json=as_json).answer(
        {"file": str(file), "documents": names}, f"{file}: {len(names)} documents"
    )


@collateral.command("import")
def import_file(
    file: FileArgument,
    *,
    database_url: UrlOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the documents of a file that are good for longer than those at hand."""
    items = read_collateral_file(file).items
    taken, left = asyncio.run(_with_service(database_url, state, lambda of: _take(of, items)))
    Output(as_json=as_json).answer(
        {"taken": taken, "left": left},
        f"{len(taken)} documents taken, {len(left)} left: ended, or not newer than ours",
    )


async def _take(service: CollateralService, items: list[VendorItem]) -> tuple[list[str], list[str]]:
    taken: list[str] = []
    left: list[str] = []
    for item in items:
        document = read_document(item.name, item.document.encode())
        try:
            kept = await service.take(item.name, document, fetched_at=item.fetched_at)
        except ValueError as error:
            raise SetupError(f"{item.name}: {error}") from None
        (left if kept is None else taken).append(item.name)
    return taken, left


async def _with_service(
    database_url: str | None,
    state: Path | None,
    work: Callable[[CollateralService], Awaitable[T]],
) -> T:
    os.umask(OWNER_ONLY)
    settings, _ = load_settings(GatewaySettings, "gateway", {"database_url": database_url})
    url = settings.database_url or f"sqlite:///{state_directory(state) / 'gateway.db'}"
    await check(url)
    engine = create_engine(url)
    service = CollateralService(
        Shelf(engine),
        Vendors.of(settings),
        unix=unix_seconds,
        now=time.monotonic,
        draw=random.SystemRandom().random,
    )
    try:
        return await work(service)
    finally:
        await service.close()
        await engine.dispose()


def _item(kept: Kept) -> VendorItem:
    return VendorItem(
        name=kept.name,
        fetched_at=kept.fetched_at,
        next_update=kept.next_update,
        document=kept.document.decode(),
        digest=kept.digest,
    )


def _told(kept: Kept, now: int) -> dict[str, Any]:
    return {
        "name": kept.name,
        "digest": kept.digest,
        "fetched_at": kept.fetched_at,
        "next_update": kept.next_update,
        "refresh_at": kept.refresh_at,
        "good": now < kept.next_update,
    }


def _line(kept: Kept, now: int) -> str:
    left = kept.next_update - now
    how = f"good for {left // 3600} h" if left > 0 else "ended, and is not served"
    return f"{kept.name}  {how}, fetched {(now - kept.fetched_at) // 3600} h ago"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a reader never sees half a file."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}") from None
