"""The purses of all accounts in this process, filled from leases (SPEC 5.1)."""

import asyncio
from dataclasses import dataclass, field

from bombyx.errors import InsufficientQuota, Overloaded
from gateway.metering.clock import Clock
from gateway.metering.leases import Purse
from gateway.metering.membership import Membership, Timing
from gateway.metering.port import Leases
from gateway.metering.rows import Fenced, Granted, Shortage

MAX_EPOCHS = 3
"""A process that is fenced so often in one request has a rival on its slot."""


@dataclass(slots=True)
class _Pocket:
    purse: Purse
    refill: asyncio.Lock = field(default_factory=asyncio.Lock)


class Purses:
    """Reserves out of leases; one refill at a time per account."""

    def __init__(
        self, store: Leases, membership: Membership, *, clock: Clock, timing: Timing
    ) -> None:
        self._store = store
        self._membership = membership
        self._clock = clock
        self._timing = timing
        self._pockets: dict[str, _Pocket] = {}

    def forget(self) -> None:
        """The leases behind the purses are gone."""
        self._pockets = {}

    async def reserve(self, account: str, amount: int) -> int:
        """Take `amount`; the epoch in which it is good.

        Raises `InsufficientQuota`, `Overloaded`, `StoreBusy`.
        """
        for _ in range(MAX_EPOCHS):
            epoch = await self._membership.ensure()
            pocket = self._pocket(account)
            if not pocket.refill.locked() and self._take(pocket, amount):
                return epoch
            async with pocket.refill:
                if await self._fill(account, pocket, amount=amount, epoch=epoch):
                    return epoch
        raise Overloaded("this gateway lost its leases; try again")

    def refund(self, account: str, *, epoch: int, amount: int) -> None:
        """A reserve was not used."""
        if epoch == self._membership.epoch:
            self._pocket(account).purse.refund(amount)

    def settle(self, account: str, *, epoch: int, reserve: int, charge: int) -> None:
        """A reserve was used for `charge`."""
        if epoch == self._membership.epoch:
            self._pocket(account).purse.settle(reserve, charge)

    async def honour_recalls(self) -> None:
        """Give back what is free of accounts that other processes run short of."""
        if not any(pocket.purse.free for pocket in self._pockets.values()):
            return
        epoch = self._membership.epoch
        for account in await self._store.recalls(self._membership.slot, epoch):
            pocket = self._pockets.get(account)
            if epoch != self._membership.epoch or pocket is None or not pocket.purse.free:
                continue
            # Out of the purse first: if the call fails the money is idle, never spent twice.
            amount = pocket.purse.take_all()
            await self._store.give_back(account, self._membership.slot, epoch=epoch, amount=amount)

    def _pocket(self, account: str) -> _Pocket:
        pocket = self._pockets.get(account)
        if pocket is None:
            pocket = self._pockets[account] = _Pocket(Purse(self._membership.safe_until))
        return pocket

    def _take(self, pocket: _Pocket, amount: int) -> bool:
        pocket.purse.safe_until = self._membership.safe_until
        return pocket.purse.reserve(amount, self._clock.monotonic())

    async def _fill(self, account: str, pocket: _Pocket, *, amount: int, epoch: int) -> bool:
        """Lease more until the reserve is covered; False when the epoch is over."""
        waits = iter(self._timing.recall_waits_s)
        while await self._membership.ensure() == epoch:
            if self._take(pocket, amount):
                return True
            answer = await self._grant(account, pocket, amount=amount, epoch=epoch)
            if isinstance(answer, Shortage):
                wait = next(waits, None)
                self._check(answer, pocket, amount, may_wait=wait is not None)
                await asyncio.sleep(wait or 0)
        return False

    async def _grant(
        self, account: str, pocket: _Pocket, *, amount: int, epoch: int
    ) -> Granted | Shortage | Fenced:
        answer = await self._store.grant(
            account,
            self._membership.slot,
            epoch=epoch,
            need=max(1, pocket.purse.shortfall(amount)),
            processes=self._membership.processes,
        )
        if isinstance(answer, Fenced):
            await self._membership.replace(epoch)
        elif isinstance(answer, Granted) and epoch == self._membership.epoch:
            pocket.purse.add(answer.amount)
        return answer

    @staticmethod
    def _check(answer: Shortage, pocket: _Pocket, amount: int, *, may_wait: bool) -> None:
        missing = pocket.purse.shortfall(amount)
        if may_wait and missing <= answer.available + answer.elsewhere:
            return
        available = pocket.purse.free + answer.available
        raise InsufficientQuota(
            f"the request may cost {amount} nano and {available} nano are available"
        )
