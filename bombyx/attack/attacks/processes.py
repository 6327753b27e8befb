"""A cheating client of a gateway that is several processes: spends the same money at two of them.

Each process spends what the database has lent it without asking again. One that stood still, as
under SIGSTOP or in a paused machine, must not go on where it was: its money was lent to others.
"""

import asyncio
import contextlib
import dataclasses
import os
import secrets
import signal
from collections.abc import AsyncIterator
from typing import Any

from bombyx.attack.attacks.clients import OK, answered, produced
from bombyx.attack.defence import Defence
from bombyx.attack.means.requests import ANSWER_SECONDS, Forger
from bombyx.attack.record import Role, Seen, attack
from bombyx.attack.target import Need, Target
from bombyx.envelope.request import SealedRequest

CREDIT_NANO = 10**9
FREED_SECONDS = 40.0
"""A process is dead to the others after 15 s, and its money free 5 s later (SPEC 5.5, 5.6)."""
SLOW = "pace: 15000\ncount: 2"
"""A request that holds its reserve while nothing of it is answered."""


@attack(
    Role.CLIENT,
    Defence.LEASES,
    "402 insufficient_quota: the process lost what it was lent",
    Need.GATEWAY,
    Need.SECOND_PROCESS,
)
async def lease_spent_after_sigstop(target: Target) -> Seen:
    """Spends, at a process that was stopped for long, money that another has lent meanwhile."""
    api_key = await _account(target)
    first = Forger(target, api_key)
    async with _second_process(target) as (other, pid):
        second = Forger(other, api_key, first.payer)
        charge = await _lend_all(second)
        again = await second.sealed("say: silk", max_cost_nano=str(CREDIT_NANO // 2))
        with _stopped(pid):
            left = str(CREDIT_NANO - charge)
            async with _held(first, left):
                resumed = asyncio.create_task(second.post(again.encode()))
                await asyncio.sleep(0.2)  # it lies in the stopped process's socket
                os.kill(pid, signal.SIGCONT)
                return answered(await resumed)


async def _account(target: Target) -> str:
    """The key of a new account with a little credit."""
    made = await _admin(target, "accounts", {"name": "lease"})
    credit = {"amount_nano": str(CREDIT_NANO), "txn": secrets.token_hex(8)}
    await _admin(target, f"accounts/{made['id']}/credit", credit)
    key = await _admin(target, "keys", {"account": made["id"], "name": "lease"})
    return str(key["api_key"])


async def _admin(target: Target, path: str, document: dict[str, Any]) -> dict[str, Any]:
    url, headers = f"{target.gateway}/admin/v1/{path}", {}
    headers["authorization"] = f"Bearer {target.admin_key}"
    sending = target.http.post(url, json=document, headers=headers, timeout=ANSWER_SECONDS)
    async with sending as answer:
        told: dict[str, Any] = await answer.json()
    if not answer.ok:
        raise ValueError(f"the administrator was refused: {told}")
    return told


@contextlib.asynccontextmanager
async def _second_process(target: Target) -> AsyncIterator[tuple[Target, int]]:
    """Another process of the same gateway with a worker of its own, and its pid."""
    if target.start_gateway is None or target.start_worker is None:
        raise ValueError("a second process needs a network of our own")
    started = await target.start_gateway()
    await target.start_worker(started.link_url)
    yield dataclasses.replace(target, gateway=started.url), started.pid


async def _lend_all(second: Forger) -> int:
    """Make the process borrow all that the account has; what that cost."""
    sealed = await second.sealed("say: silk", max_cost_nano=str(CREDIT_NANO))
    reply = await second.post(sealed.encode())
    if not produced(reply):
        raise ValueError(f"the second process does not serve: {reply}")
    settled = await second.settled(sealed.c)
    return int(settled["charge_nano"])


@contextlib.contextmanager
def _stopped(pid: int) -> Any:
    """A process that stands still within the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def _held(first: Forger, left: str) -> AsyncIterator[None]:
    """All that is left of the account, reserved at the living process."""
    async with asyncio.timeout(FREED_SECONDS):
        while True:
            sealed = await first.sealed(SLOW, max_cost_nano=left)
            running = asyncio.create_task(first.post(sealed.encode()))
            if await _is_claimed(first, sealed, running):
                break
            await asyncio.sleep(1.0)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _is_claimed(first: Forger, sealed: SealedRequest, running: "asyncio.Task[Any]") -> bool:
    """Whether the request holds its reserve; False once it was refused."""
    while not running.done():
        if (await first.outcome(sealed.c)).get("state") == "open":
            return True
        await asyncio.sleep(0.05)
    reply = running.result()
    if reply.status == OK:
        raise ValueError("the request that was to hold the money is over already")
    return False
