"""Whether this gateway has a chain, and putting it together (`[gateway] chain`).

The one place that imports what needs `bombyx-ton`, and only where a chain is wanted: a gateway runs
without that wheel.
"""

import contextlib
import os
import tomllib
from collections.abc import AsyncIterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bombyx.errors import SetupError
from bombyx.settings import find_config, load_settings
from gateway.context import Context, unix_seconds
from gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from gateway.channels.chain.opening import Connection

WANTED: Final = ("ton", "pytoniq_core")
"""Packages without which there is no chain."""
PROVIDERS: Final = "BOMBYX_TON_PROVIDERS"


@contextlib.asynccontextmanager
async def connected(
    settings: GatewaySettings, *, state: Path
) -> "AsyncIterator[Connection | None]":
    """The chain of `[ton]`, or None; raises `SetupError`.

    `auto` has one exactly where `[ton] providers` names whom to ask.
    """
    if settings.chain == "none":
        yield None
        return
    if not _is_installed():
        if settings.chain == "auto" and not _names_providers():
            yield None
            return
        raise SetupError(
            "a gateway on a chain ([gateway] chain = ton, or auto with [ton] providers) needs "
            "pytoniq-core and bombyx-ton: pip install bombyx-ton"
        )
    from gateway.channels.chain.opening import opened  # noqa: PLC0415 - see above
    from ton.settings import TonSettings  # noqa: PLC0415

    ton, _ = load_settings(TonSettings, "ton")
    if settings.chain == "auto" and not ton.providers:
        yield None
        return
    async with opened(ton, state=state) as connection:
        yield connection


def _is_installed() -> bool:
    return all(PathFinder.find_spec(name) is not None for name in WANTED)


def _names_providers() -> bool:
    """Whether `[ton] providers` names anybody, read without the wheel that knows all of `[ton]`."""
    told = os.environ.get(PROVIDERS)
    if told is not None:
        return told.replace(" ", "") != "[]"
    path = find_config()
    if path is None:
        return False
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("ton", {})
    except (OSError, ValueError):
        raise SetupError(f"{path}: cannot be read as TOML") from None
    return bool(table.get("providers"))


@contextlib.asynccontextmanager
async def watched(context: Context, connection: "Connection | None") -> AsyncIterator[None]:
    """Watch the chain and move money while the block runs, where there is a chain."""
    if connection is None:
        yield
        return
    from gateway.channels.chain.opening import Process  # noqa: PLC0415 - see above

    settings = context.settings
    process = Process(
        context.engine,
        context.store,
        settings.slot,
        context.keys.channel.public_key,
        deadline_s=settings.max_duration_s + settings.settlement_grace_s,
        max_payout_deposit=settings.max_payout_deposit_nano,
    )
    every_s = settings.chain_every_s
    async with connection.watched(process, unix=unix_seconds, every_s=every_s) as parts:
        context.treasury, context.watch = parts.treasury, parts.task
        yield
