"""Claiming a request and finding a worker that answers it (SPEC 5, 6.2, 6.3).

Before the first byte of an answer every candidate may be tried once; after it, never again. Each
attempt is recorded before it is dispatched, so the winner is always the last one on record.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET, Struct
from msgspec.structs import replace

from bombyx.errors import (
    AlreadyAnswered,
    BadAnswer,
    BadSignature,
    BombyxError,
    CommitmentConflict,
    EngineTimeout,
    InProgress,
    LinkLost,
    NoCandidate,
    RemoteError,
)
from bombyx.link.documents import SignedLost, SignedRefusal
from bombyx.link.open import Open
from bombyx.money.settlement import Attempt
from bombyx.signing import Kind, verify
from gateway.channels.till import Payment
from gateway.inference.answer import Answer, Phase
from gateway.inference.exchange import Exchange
from gateway.inference.job import Job, Target
from gateway.inference.router import Router
from gateway.inference.run import Run, Runs
from gateway.inference.wire import NotRun
from gateway.metering.meter import ChannelRefused, Meter
from gateway.metering.rations import Grip
from gateway.metering.rows import Attempt as AttemptRow
from gateway.metering.rows import Claimed, Conflict, NewClaim, Outcome, SettlementRow, StoredClaim
from gateway.metering.ticket import NONCE_BYTES, Ticket, TicketBox
from gateway.workers.desk import Desk
from gateway.workers.registry import Listed

LAST_WORD_SECONDS = 30.0
"""For the last statement of a worker whose client left."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; all of them settings."""

    first_byte_stream: float
    first_byte_whole: float
    duration: int
    grace: int


class Begun(Struct, frozen=True):
    """A claimed request and the attempt that comes first."""

    run: Run
    job: Job
    target: Target
    attempt: Attempt


class Dispatcher:
    """Runs jobs; owns no state but the runs."""

    def __init__(
        self,
        *,
        meter: Meter,
        desk: Desk,
        tickets: TicketBox,
        runs: Runs,
        timeouts: Timeouts,
        router: Router,
        now: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._now = now
        self.router = router
        self._meter = meter
        self._desk = desk
        self._tickets = tickets
        self._runs = runs
        self._timeouts = timeouts
        self._now_ms = now_ms
        self.alarms = router.room.alarms

    async def begin(self, job: Job, exchange: Exchange) -> Begun:
        """Find a free worker and claim; nothing has gone to a worker when this returns.

        Raises `InsufficientQuota`, `InProgress`, `AlreadyAnswered`, `CommitmentConflict`,
        `NoCandidate` or, where it had to wait, what `WaitingRoom.wait` raises.
        """
        run = Run(job.account, job.claim)
        run.told = job.told
        self._runs.add(run)
        target = job.targets[0] if job.holds_slot else None
        try:
            if target is None:
                target = self.router.another(run, job, job.targets, only_free=True)
            if target is None:
                target = await self.router.in_turn(run, job, exchange)
            limits = self._timeouts
            deadline_ms = self._now_ms() + (limits.duration + limits.grace) * 1000
            run.claim = replace(run.claim, deadline_ms=deadline_ms)
            run.key = exchange.key if exchange.entry is not None else ""
            if job.payment is not None:
                run.channel = job.payment.id
            attempt = self._attempt(run, target, 1)
            await self._claim(run, job, attempt, exchange)
        except BaseException as error:
            if target is not None:
                target.listed.link.release(run.claim.model)
            self._runs.remove(run)
            if isinstance(error, BombyxError):
                run.decide(error)
            run.give_up()
            raise
        return Begun(run, job, target, attempt)

    async def _claim(self, run: Run, job: Job, attempt: Attempt, exchange: Exchange) -> None:
        claim, grip = run.claim, None
        if exchange.entry is not None:
            most = claim.max_input_tokens + claim.max_output_tokens
            grip = await exchange.entry.reserve(tokens=most, nano=claim.reserve)
        new = NewClaim(
            c=bytes.fromhex(claim.c),
            h=bytes.fromhex(claim.h),
            id=claim.id,
            account=job.account,
            reserve=claim.reserve,
            deadline=claim.deadline_ms,
            tier="bare" if claim.tier == "bare" else "sealed",
            model=claim.model,
            payer=claim.payer,
            fee_bps=claim.fee_bps,
            header=job.header,
            req_ct_hash=bytes.fromhex(claim.req_ct_hash),
            worker=attempt.worker,
            ticket=attempt.ticket,
            offer=attempt.offer,
            key=exchange.key,
            rationed=grip is not None and grip.rationed,
            channel=run.channel,
        )
        if job.payment is None:
            result = await self._meter.claim(new, grip)
        else:
            result = await self._claim_by_channel(new, job.payment, grip)
        if isinstance(result, Conflict):
            raise earlier(result.stored, job.account, bytes.fromhex(claim.h))

    async def _claim_by_channel(
        self, new: NewClaim, payment: Payment, grip: Grip | None
    ) -> Claimed | Conflict:
        try:
            return await self._meter.claim_by_channel(new, payment.offered, grip)
        except ChannelRefused as refused:
            raise payment.refused(refused.error, new.reserve, refused.row) from None

    def abandon(self, begun: Begun) -> None:
        """A claimed request is not dispatched after all: settle it for nothing."""
        begun.target.listed.link.release(begun.run.claim.model)
        self._give_up(begun.run)

    async def answer(self, begun: Begun) -> Answer:
        """Try candidates until one answers.

        Raises `NotRun` (with signed refusals), `RemoteError` or `StoreBusy`; nothing is charged.
        """
        try:
            answer = await self._answer(begun)
        except BombyxError as error:
            begun.run.decide(error)
            raise
        begun.run.decide()
        return answer

    async def _answer(self, begun: Begun) -> Answer:
        run, job, target, attempt = begun.run, begun.job, begun.target, begun.attempt
        left = [other for other in job.targets if other is not target]
        proven = True
        while True:
            answer = self._dispatch(run, job, target, attempt)
            try:
                await self._first_byte(answer, target.listed, job)
            finally:
                self.router.hears(target.listed, answer, streamed=job.stream)
            if answer.answered or answer.statement is not None:
                return answer
            proven &= self._refused(run, answer, target.listed)
            refusal = answer.refusal
            if proven and refusal is not None and refusal.refusal.fault == "client":
                self._give_up(run)
                raise _not_run(run, refusal)
            following = self.router.another(run, job, left) if run.readers else None
            if following is None:
                settled = self._give_up(run)
                raise await self._nobody(run, answer, settled, proven=proven)
            target = following
            left.remove(target)
            attempt = self._attempt(run, target, attempt.number + 1)
            try:
                await self._retarget(run, attempt)
            except BaseException:
                target.listed.link.release(run.claim.model)
                raise

    async def _retarget(self, run: Run, attempt: Attempt) -> None:
        """Put the next attempt on record; raises when it must not be dispatched."""
        try:
            recorded = await self._meter.retarget(_attempt_row(run.claim.c, attempt))
        except BombyxError:
            self._give_up(run)
            raise
        if not recorded:
            self._give_up(run)
            raise EngineTimeout("no worker answered before the request's deadline")

    def _attempt(self, run: Run, target: Target, number: int) -> Attempt:
        """Put one more attempt into the claim."""
        quote, claim = target.quote, run.claim
        ticket = Ticket(
            account=run.account,
            reserve=str(claim.reserve),
            c=claim.c,
            deadline=claim.deadline_ms // 1000,
            attempt=number,
            key=run.key or UNSET,
            channel=run.channel or UNSET,
        )
        attempt = Attempt(
            number=number,
            worker=target.listed.worker,
            ticket=self._tickets.seal(ticket, os.urandom(NONCE_BYTES)),
            offer=quote.hash,
            prices=quote.offer.prices,
            weights=quote.record.weights,
            engine=quote.record.engine,
        )
        run.claim = replace(claim, attempts=(*claim.attempts, attempt))
        return attempt

    def _dispatch(self, run: Run, job: Job, target: Target, attempt: Attempt) -> Answer:
        answer = Answer(target.passage(), lambda over: self._over(run, job, target.listed, over))
        self.router.asks(target.listed, answer, streamed=job.stream)
        run.answer, run.listed = answer, target.listed
        request = Open(
            deadline=run.claim.deadline_ms // 1000,
            ticket=bytes.fromhex(attempt.ticket),
            header=job.header,
            c=bytes.fromhex(run.claim.c),
            auth=job.auth,
            key=target.key(),
        )
        try:
            target.listed.link.dispatch(request, job.frames, model=run.claim.model, answer=answer)
        except LinkLost as error:
            answer.on_over(error)
        return answer

    async def _first_byte(self, answer: Answer, listed: Listed, job: Job) -> None:
        """Wait until the attempt answers or is over."""
        if answer.phase is not Phase.WAITING:
            return
        limits = self._timeouts
        seconds = limits.first_byte_stream if job.stream else limits.first_byte_whole
        alarm = self.alarms.after(seconds, lambda: self._too_late(listed, answer))
        try:
            while answer.phase is Phase.WAITING:
                await answer.changed()
        finally:
            alarm.clear()

    def _too_late(self, listed: Listed, answer: Answer) -> None:
        """The first byte did not come in time."""
        if answer.phase is Phase.WAITING:
            listed.link.reset(answer, "first_byte_timeout")
            answer.on_over(EngineTimeout("the worker gave no answer in time"))

    def finish(self, run: Run) -> None:
        """A reader is done; after the last one a sealed answer is kept for a repetition."""
        run.give_up()
        if run.readers > 0 or self._runs.get(run.claim.c) is not run or run.ended_at is not None:
            return
        if run.claim.tier == "sealed":
            self._runs.keep(run, self._now())
        else:
            self._runs.remove(run)
        answer, listed = run.answer, run.listed
        if answer is not None and listed is not None and answer.phase is not Phase.OVER:
            # The worker was told to stop; one that never says so must not hold the answer open.
            loop = asyncio.get_running_loop()
            loop.call_later(LAST_WORD_SECONDS, self._end, listed, answer)

    def sweep(self) -> None:
        """End what has run for longer than any request may."""
        late = self._now_ms() + self._timeouts.grace * 1000
        for run in self._runs.open_runs():
            if run.claim.deadline_ms < late and run.answer is not None and run.listed is not None:
                self._end(run.listed, run.answer)

    def _end(self, listed: Listed, answer: Answer) -> None:
        """Give an attempt up, so that what it has signed so far is at hand at the deadline."""
        if answer.phase is not Phase.OVER:
            listed.link.reset(answer, "deadline")
            answer.on_over(EngineTimeout("the worker did not end its answer in time"))

    def _over(self, run: Run, job: Job, listed: Listed, answer: Answer) -> None:
        """An attempt is over: hand its statement to the desk, and learn from it."""
        if isinstance(answer.failure, BadAnswer):
            listed.link.reset(answer, "bad_answer")
        tokens = self._desk.attempt_over(run.claim, listed, answer)
        self.router.note(listed, answer, tokens=tokens, streamed=job.stream, left=run.readers <= 0)

    def _refused(self, run: Run, answer: Answer, listed: Listed) -> bool:
        """Whether the attempt left a signed proof that nothing ran."""
        signed = answer.refusal
        if signed is None:
            return False
        claim, refusal = run.claim, signed.refusal
        ours = (listed.worker, claim.gateway, claim.c, claim.h)
        if (refusal.worker, refusal.gateway, refusal.c, refusal.h) != ours:
            return False
        key = bytes.fromhex(listed.verified.keyset.receipt_key)
        try:
            verify(Kind.REFUSAL, refusal, bytes.fromhex(signed.signature), key)
        except BadSignature:
            return False
        run.refusals.append(signed)
        return True

    async def _nobody(
        self, run: Run, answer: Answer, settled: "asyncio.Future[Outcome]", *, proven: bool
    ) -> BombyxError:
        if not (proven and run.refusals):
            return answer.failure or RemoteError("no worker answered the request")
        # A bare client cannot seal anew: it needs no note, and the next worker need not wait.
        lost = await self._desk.waive(settled) if run.claim.tier == "sealed" else None
        return _not_run(run, run.refusals[-1], lost)

    def _give_up(self, run: Run) -> "asyncio.Future[Outcome]":
        """Nobody answers: settle for nothing, so that the reserve is free again."""
        self._runs.remove(run)
        return self._desk.settle_nothing(SettlementRow(bytes.fromhex(run.claim.c)))


def earlier(stored: StoredClaim, account: str, h: bytes) -> BombyxError:
    """What to answer a request whose commitment was claimed before."""
    if (stored.account, stored.h) != (account, h):
        return CommitmentConflict("the commitment is claimed for another request")
    if not stored.settled:
        return InProgress("the same request runs elsewhere: ask for its receipt")
    return AlreadyAnswered("the request was run before: ask for its receipt", c=stored.c)


def _attempt_row(c: str, attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        bytes.fromhex(c), attempt.number, attempt.worker, attempt.ticket, attempt.offer
    )


def _not_run(run: Run, refusal: SignedRefusal, lost: SignedLost | None = None) -> NotRun:
    """The client's error for signed refusals: 400 when it is at fault, else 422 with a note."""
    at_fault = refusal.refusal.fault == "client"
    message = refusal.message if isinstance(refusal.message, str) else "the worker refused"
    return NotRun(
        message if at_fault else f"every chosen worker refused: {message}",
        refusals=list(run.refusals),
        code=refusal.refusal.code if at_fault else NoCandidate.code,
        status=400 if at_fault else 422,
        lost=lost,
        param=refusal.param if at_fault and isinstance(refusal.param, str) else None,
    )
