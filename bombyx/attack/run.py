"""Running attacks: one after the other, each within its time, whatever they raise."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from bombyx.attack.attacks import (
    channels,
    clients,
    closings,
    directories,
    links,
    lures,
    neighbours,
    pages,
    payouts,
    processes,
    refusals,
    resent,
    statements,
    streams,
    tills,
    vouchers,
    wallets,
)
from bombyx.attack.control import check
from bombyx.attack.record import ARSENAL, Attack, Outcome, Result, Role
from bombyx.attack.target import Target
from bombyx.errors import SetupError

MODULES = (
    streams, directories, refusals, lures, statements, resent, links, clients, processes, pages,
    tills, wallets, channels, vouchers, closings, payouts, neighbours,
)  # fmt: skip
"""Whose import makes the list of attacks complete."""
ATTACK_SECONDS = 90.0
"""The slowest waits for a worker process to start, on a machine that may be busy."""


def all_attacks() -> list[Attack]:
    """Every attack of the kit."""
    return ARSENAL.all()


def chosen(only: Sequence[str]) -> list[Attack]:
    """The attacks of these names and roles, all for none; raises `SetupError` for a stray name."""
    known = all_attacks()
    names = {attack.name for attack in known} | {role.value for role in Role}
    if stray := [name for name in only if name not in names]:
        raise SetupError(f"no attack or role is called {stray[0]}: see bombyx attack --list")
    return [one for one in known if not only or one.name in only or one.role.value in only]


async def run(attacks: Sequence[Attack], target: Target) -> AsyncIterator[Outcome]:
    """What became of each; attacks that do not fit the target are left out."""
    for attack in attacks:
        if attack.fits(target):
            yield await run_one(attack, target)


async def run_one(attack: Attack, target: Target) -> Outcome:
    """What became of one attack."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(ATTACK_SECONDS):
            await check(attack, target)
            seen = await attack.run(target)
    except Exception as error:  # noqa: BLE001 - a boundary: whatever breaks shows nothing
        result, observed = Result.ERROR, f"{type(error).__name__}: {error}"
    else:
        result = Result.SUCCEEDED if seen.won else Result.DEFEATED
        observed = seen.observed
    return Outcome(attack, result, observed, time.monotonic() - began)
