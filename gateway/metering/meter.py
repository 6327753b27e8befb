"""Claims before work, settlements after it: the shell that requests talk to (SPEC 5, 6).

Nothing here decides what a statement is worth; that is the caller's. The meter sees that a claim is
committed before it is answered, that every reserve is released once, and that every claim ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import structlog

from bombyx.errors import BombyxError, Overloaded, StoreBusy
from bombyx.money.channel.terms import Ceiling
from gateway.metering.batching import GroupCommit
from gateway.metering.channel_plan import Answer
from gateway.metering.clock import Clock
from gateway.metering.membership import Membership, Timing
from gateway.metering.port import Store
from gateway.metering.purses import MAX_EPOCHS, Purses
from gateway.metering.rations import Grip, Rations
from gateway.metering.rows import (
    Attempt,
    ChannelClaim,
    Claimed,
    Conflict,
    Disposition,
    Expired,
    Fenced,
    NewClaim,
    Outcome,
    RestoredClaim,
    SettlementRow,
    Shortage,
    StoredClaim,
    TokenUsage,
    Uncovered,
    VerdictRow,
)

_log = structlog.get_logger(__name__)

CLAIM_RETRIES = 3
"""A client waits for its claim; a settlement is repeated until it is written."""

DeadlineHook: TypeAlias = Callable[[StoredClaim], SettlementRow]


class ChannelRefused(Exception):
    """Raised where a channel does not pay: how it stood, and the error that says why."""

    def __init__(self, uncovered: Uncovered) -> None:
        super().__init__(uncovered.error.message)
        self.row = uncovered.row
        self.error = uncovered.error


@dataclass(slots=True)
class _Reserved:
    claim: NewClaim
    epoch: int
    grip: Grip | None = None
    abandoned: bool = False
    """Whoever asked is gone: settle it at nothing once it is claimed."""
    offered: Ceiling | None = None
    """The voucher that came with it, where a channel pays."""


class _Held(msgspec.Struct, frozen=True, gc=False):
    account: str
    """Whose lease it was taken out of; empty where a channel pays."""
    epoch: int
    reserve: int
    deadline: int
    grip: Grip | None = None


class Meter:
    """One per process and event loop. The store is the caller's to close."""

    def __init__(
        self,
        store: Store,
        *,
        on_deadline: DeadlineHook,
        clock: Clock,
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing or Timing()
        self._store = store
        self._on_deadline = on_deadline
        self._members = Membership(store, clock=clock, timing=self._timing, on_epoch=self._forget)
        self._purses = Purses(store, self._members, clock=clock, timing=self._timing)
        self.rations = Rations(store, self._members, clock=clock, timing=self._timing)
        """What limited keys may still use here."""
        self._held: dict[bytes, _Held] = {}
        self._uncertain: set[bytes] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._claims = GroupCommit(self._commit_claims, window_s=0, retries=CLAIM_RETRIES)
        self._channel_claims = GroupCommit(
            self._commit_channel_claims, window_s=0, retries=CLAIM_RETRIES
        )
        self._attempts = GroupCommit(store.retarget, window_s=0, retries=CLAIM_RETRIES)
        window = self._timing.settle_window_s
        self._settlements = GroupCommit(self._commit_settlements, window_s=window, retries=None)
        self._verdicts = GroupCommit(store.record, window_s=window, retries=None)

    @property
    def slot(self) -> int:
        """The slot of this process."""
        return self._members.slot

    @property
    def epoch(self) -> int:
        """The epoch of this process in its slot."""
        return self._members.epoch

    async def start(self, slot: int, link_url: str) -> None:
        """Take a slot and keep it."""
        await self._members.start(slot, link_url)
        for seconds, step in (
            (self._timing.renew_s, self._members.renew),
            (self._timing.recall_s, self.honour_recalls),
            (self._timing.reap_s, self.reap),
        ):
            self._loops.append(asyncio.create_task(_every(seconds, step)))

    async def drain(self) -> None:
        """Tell the others that this process takes no new work."""
        await self._members.drain()

    async def close(self) -> None:
        """Write what is queued and give all leases back."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for queue in (
            self._claims,
            self._channel_claims,
            self._attempts,
            self._settlements,
            self._verdicts,
        ):
            await queue.close(self._timing.close_s)
        await self._members.close()

    # --- Requests ---

    async def claim(self, new: NewClaim, grip: Grip | None = None) -> Claimed | Conflict:
        """Reserve and commit; only after `Claimed` may the request go to its worker.

        Raises `InsufficientQuota`, `Overloaded`, `StoreBusy`. A claim whose caller was cancelled
        meanwhile is settled at nothing. `grip` is what the key's limits lent it: settled with it.
        """
        for _ in range(MAX_EPOCHS):
            epoch = await self._reserve(new, grip)
            reserved = _Reserved(new, epoch, grip)
            future = self._claims.submit(reserved)
            try:
                answer = await future
            except asyncio.CancelledError:
                self._abandon(reserved, future)
                raise
            if isinstance(answer, (Claimed, Conflict)):
                return answer
        raise Overloaded("this gateway lost its slot; try again")

    async def claim_by_channel(
        self, new: NewClaim, offered: Ceiling | None, grip: Grip | None = None
    ) -> Claimed | Conflict:
        """The same where `new.channel` pays, with a checked voucher or the best one before it.

        Raises `ChannelRefused`, and what `claim` does but `InsufficientQuota`.
        """
        for _ in range(MAX_EPOCHS):
            try:
                epoch = await self._members.ensure()
                _check_epoch(grip, epoch)
            except BombyxError:
                _cancel(grip)
                raise
            reserved = _Reserved(new, epoch, grip, offered=offered)
            future = self._channel_claims.submit(reserved)
            try:
                answer = await future
            except asyncio.CancelledError:
                self._abandon(reserved, future)
                raise
            if isinstance(answer, Uncovered):
                raise ChannelRefused(answer)
            if isinstance(answer, (Claimed, Conflict)):
                return answer
        raise Overloaded("this gateway lost its slot; try again")

    async def _reserve(self, new: NewClaim, grip: Grip | None) -> int:
        try:
            epoch = await self._purses.reserve(new.account, new.reserve)
            try:
                _check_epoch(grip, epoch)
            except Overloaded:
                self._purses.refund(new.account, epoch=epoch, amount=new.reserve)
                raise
        except BombyxError:
            _cancel(grip)
            raise
        return epoch

    async def retarget(self, attempt: Attempt) -> bool:
        """Record a further attempt before it is dispatched; False when the claim is settled."""
        return await self._attempts.submit(attempt)

    def settle(self, row: SettlementRow) -> "asyncio.Future[Outcome]":
        """Settle a claim, of this process or another; answers when it is on stable storage."""
        return self._settlements.submit(row)

    def record(self, row: VerdictRow) -> "asyncio.Future[Outcome]":
        """Store a verdict on a statement that is not billed."""
        return self._verdicts.submit(row)

    async def restore(
        self, claim: NewClaim, *, attempts: int
    ) -> Claimed | Conflict | Shortage | Expired:
        """Rebuild a claim that the database lost, from a valid ticket (SPEC 5.3)."""
        held = self._held.get(claim.c)
        mine = held is not None and held.epoch == self._members.epoch
        owner = (self._members.slot, self._members.epoch) if mine else None
        if held is not None and held.grip is not None:
            claim = msgspec.structs.replace(claim, rationed=held.grip.rationed)
        (answer,) = await self._store.restore([RestoredClaim(claim, attempts, owner)])
        return answer

    # --- What the loops do; tests call it by hand ---

    async def renew(self) -> None:
        """Keep the slot."""
        await self._members.renew()

    async def honour_recalls(self) -> None:
        """Give back what others need."""
        await self._purses.honour_recalls()
        await self.rations.honour_recalls()

    async def reap(self) -> None:
        """Take the leases of the dead, settle what is overdue, release what others settled."""
        await self._store.reap()
        due = await self._store.overdue(
            self._members.slot, self._members.epoch, grace_ms=self._timing.overdue_grace_ms
        )
        await asyncio.gather(*(self._end(claim) for claim in due))
        await self._release_settled()

    async def _end(self, claim: StoredClaim) -> None:
        outcome = await self.settle(self._on_deadline(claim))
        if outcome.charge is None:
            # What the hook offered cannot be billed; the claim must end all the same.
            await self.settle(SettlementRow(claim.c))

    async def _release_settled(self) -> None:
        """Another process may have settled our claim, where the worker came back to it."""
        now = await self._store.now_ms()
        past = [c for c, held in self._held.items() if held.deadline <= now]
        for claim in (await self._store.find_claims(past)).values() if past else ():
            self._release(claim.c, claim.charge)

    # --- Batches ---

    async def _commit_claims(self, batch: Sequence[_Reserved]) -> list[Answer]:
        return await self._commit(
            batch,
            lambda epoch, live: self._store.claim(
                self._members.slot, epoch, [one.claim for one in live]
            ),
        )

    async def _commit_channel_claims(self, batch: Sequence[_Reserved]) -> list[Answer]:
        return await self._commit(
            batch,
            lambda epoch, live: self._store.claim_by_channel(
                self._members.slot, epoch, [ChannelClaim(one.claim, one.offered) for one in live]
            ),
        )

    async def _commit(
        self,
        batch: Sequence[_Reserved],
        claim: Callable[[int, list[_Reserved]], Awaitable[Sequence[Answer]]],
    ) -> list[Answer]:
        epoch = self._members.epoch
        live = [one for one in batch if one.epoch == epoch]
        try:
            stored = await claim(epoch, live) if live else []
        except StoreBusy:
            # It may have been committed; of these commitments none was answered yet.
            self._uncertain.update(one.claim.c for one in live if one.claim.c not in self._held)
            raise
        remaining = iter(stored)
        answers = [
            self._note(one, next(remaining)) if one.epoch == epoch else Fenced() for one in batch
        ]
        if any(isinstance(answer, Fenced) for answer in stored):
            await self._members.replace(epoch)
        return answers

    def _note(self, one: _Reserved, answer: Answer) -> Answer:
        new = one.claim
        if isinstance(answer, Conflict) and self._is_ours(one, answer.stored):
            answer = Claimed(new.c)
        self._uncertain.discard(new.c)
        if isinstance(answer, Claimed):
            lessee = "" if new.channel else new.account
            self._held[new.c] = _Held(lessee, one.epoch, new.reserve, new.deadline, one.grip)
            if one.abandoned:
                self.settle(SettlementRow(new.c))
        elif not isinstance(answer, Fenced):
            if not new.channel:
                self._purses.refund(new.account, epoch=one.epoch, amount=new.reserve)
            _cancel(one.grip)
        return answer

    def _is_ours(self, one: _Reserved, stored: StoredClaim) -> bool:
        """An earlier try of this very claim was committed and its answer lost."""
        mine = (self._members.slot, one.epoch, one.claim.account, one.claim.h)
        theirs = (stored.slot, stored.epoch, stored.account, stored.h)
        return one.claim.c in self._uncertain and not stored.settled and mine == theirs

    async def _commit_settlements(self, batch: Sequence[SettlementRow]) -> list[Outcome]:
        outcomes = await self._store.settle(batch)
        for row, outcome in zip(batch, outcomes, strict=True):
            ours = row.statement is None or outcome.disposition is Disposition.BILLED
            self._release(outcome.c, outcome.charge, row.tokens if ours else None)
        return outcomes

    def _release(self, c: bytes, charge: int | None, tokens: TokenUsage | None = None) -> None:
        if charge is None:
            return
        held = self._held.pop(c, None)
        if held is not None:
            if held.account:
                self._purses.settle(
                    held.account, epoch=held.epoch, reserve=held.reserve, charge=charge
                )
            if held.grip is not None:
                # Prompt and completion: cached and reasoning tokens lie within them.
                held.grip.settle(charge, None if tokens is None else tokens[0] + tokens[2])

    def _abandon(self, reserved: _Reserved, future: "asyncio.Future[Answer]") -> None:
        """Whoever asked was cancelled: settle what was claimed just before, or will be."""
        reserved.abandoned = True
        if future.cancelled() or future.exception() is not None:
            return
        answer = future.result()
        if isinstance(answer, Claimed):
            self.settle(SettlementRow(answer.c))

    def _forget(self) -> None:
        self._purses.forget()
        self._uncertain.clear()


def _check_epoch(grip: Grip | None, epoch: int) -> None:
    """What a key's limits lent must be of the claim's own epoch; raises `Overloaded`."""
    if grip is not None and not grip.holds_in(epoch):
        raise Overloaded("this gateway lost its leases; try again")


def _cancel(grip: Grip | None) -> None:
    if grip is not None:
        grip.cancel()


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await step()
        except Exception:  # noqa: BLE001 - logged with its traceback
            # A boundary: a loop that died would let this process be fenced for ever.
            _log.exception("metering_step_failed")
