"""Claiming a request and finding a worker that answers it (SPEC 5, 6.2, 6.3).

Before the first byte of an answer every candidate may be tried once; after it, never again. Each
attempt is recorded before it is dispatched, so the winner is always the last one on record.
"""

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bombyx.errors import (
    AlreadyAnswered,
    BadSignature,
    BombyxError,
    CommitmentConflict,
    EngineTimeout,
    InProgress,
    LinkLost,
    NoCandidate,
    RemoteError,
)
from bombyx.link.documents import SignedRefusal
from bombyx.link.open import Open, SessionKey, WrappedKey
from bombyx.money.settlement import Attempt, Claim
from bombyx.signing import Kind, verify
from gateway.inference.answer import Answer, Passage, Phase
from gateway.inference.choose import Choice, choose
from gateway.inference.run import Run, Runs
from gateway.inference.wire import NotRun
from gateway.metering.meter import Meter
from gateway.metering.rows import Attempt as AttemptRow
from gateway.metering.rows import Conflict, NewClaim, SettlementRow
from gateway.metering.ticket import NONCE_BYTES, Ticket, TicketBox
from gateway.workers.desk import Desk
from gateway.workers.registry import Listed, Quote


@dataclass(frozen=True, slots=True)
class Target:
    """A candidate that is linked here, with the offer that the header accepts from it."""

    index: int
    listed: Listed
    quote: Quote
    key: Callable[[], WrappedKey | SessionKey]
    passage: Callable[[], Passage]


@dataclass(frozen=True, slots=True)
class Job:
    """A request as the dispatcher needs it; the same for sealed and bare."""

    account: str
    claim: Claim
    header: bytes
    auth: bytes
    frames: bytes
    stream: bool
    targets: Sequence[Target]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; all of them settings."""

    first_byte_stream: float
    first_byte_whole: float
    duration: int
    grace: int


@dataclass(frozen=True, slots=True)
class Begun:
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
        now: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._now = now
        self._meter = meter
        self._desk = desk
        self._tickets = tickets
        self._runs = runs
        self._timeouts = timeouts
        self._now_ms = now_ms

    async def begin(self, job: Job) -> Begun:
        """Claim a request; nothing has gone to a worker when this returns.

        Raises `InsufficientQuota`, `InProgress`, `AlreadyAnswered`, `CommitmentConflict` or
        `NoCandidate`.
        """
        target = self._pick(job.targets)
        if target is None:
            raise NoCandidate("none of the chosen workers is linked: fetch the directory again")
        deadline_ms = self._now_ms() + (self._timeouts.duration + self._timeouts.grace) * 1000
        run = Run(job.account, replace(job.claim, deadline_ms=deadline_ms))
        self._runs.add(run)
        attempt = self._attempt(run, target, 1)
        try:
            await self._claim(run, job, attempt)
        except BaseException:
            self._runs.remove(run)
            raise
        return Begun(run, job, target, attempt)

    async def _claim(self, run: Run, job: Job, attempt: Attempt) -> None:
        claim = run.claim
        result = await self._meter.claim(
            NewClaim(
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
            )
        )
        if isinstance(result, Conflict):
            stored = result.stored
            if (stored.account, stored.h.hex()) != (job.account, claim.h):
                raise CommitmentConflict("the commitment is claimed for another request")
            if not stored.settled:
                raise InProgress("the same request runs elsewhere: ask for its receipt")
            raise AlreadyAnswered("the request was run before: ask for its receipt")

    async def answer(self, begun: Begun) -> Answer:
        """Try candidates until one answers.

        Raises `NotRun` (with signed refusals) or `RemoteError`; nothing is charged then.
        """
        run, job, target, attempt = begun.run, begun.job, begun.target, begun.attempt
        left = [other for other in job.targets if other is not target]
        proven = True
        while True:
            answer = self._dispatch(run, job, target, attempt)
            await self._first_byte(answer, target.listed, job)
            if answer.answered or answer.statement is not None:
                return answer
            proven &= self._refused(run, answer, target.listed)
            refusal = answer.refusal
            if proven and refusal is not None and refusal.refusal.fault == "client":
                self._give_up(run)
                raise _not_run(run, refusal)
            following = self._pick(left) if run.readers else None
            if following is None:
                self._give_up(run)
                raise self._nobody(run, answer, proven=proven)
            target = following
            left.remove(target)
            attempt = self._attempt(run, target, attempt.number + 1)
            await self._meter.retarget(_attempt_row(run.claim.c, attempt))

    def _attempt(self, run: Run, target: Target, number: int) -> Attempt:
        """Put one more attempt into the claim."""
        quote, claim = target.quote, run.claim
        ticket = Ticket(
            account=run.account,
            reserve=str(claim.reserve),
            c=claim.c,
            deadline=claim.deadline_ms // 1000,
            attempt=number,
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
        answer = Answer(target.passage(), lambda over: self._over(run, target.listed, over))
        run.answer, run.listed = answer, target.listed
        run.changed.set()
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
        try:
            async with asyncio.timeout(
                limits.first_byte_stream if job.stream else limits.first_byte_whole
            ):
                while answer.phase is Phase.WAITING:
                    await answer.changed()
        except TimeoutError:
            listed.link.reset(answer, "first_byte_timeout")
            answer.on_over(EngineTimeout("the worker gave no answer in time"))

    def finish(self, run: Run) -> None:
        """The first reader is done: keep the answer for a repetition of the request."""
        if self._runs.get(run.claim.c) is run and run.ended_at is None:
            self._runs.keep(run, self._now())

    def _over(self, run: Run, listed: Listed, answer: Answer) -> None:
        """An attempt is over: hand its statement to the desk."""
        self._desk.attempt_over(run.claim, listed, answer)

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

    def _nobody(self, run: Run, answer: Answer, *, proven: bool) -> BombyxError:
        if proven and run.refusals:
            return _not_run(run, run.refusals[-1])
        return answer.failure or RemoteError("no worker answered the request")

    def _give_up(self, run: Run) -> None:
        """Nobody answers: settle for nothing, so that the reserve is free again."""
        self._runs.remove(run)
        self._desk.settle_nothing(SettlementRow(bytes.fromhex(run.claim.c)))

    def _pick(self, targets: Sequence[Target]) -> Target | None:
        """A linked target by load."""
        choices = [
            Choice(
                index=position,
                running=target.listed.running(target.quote.offer.model),
                waiting=target.listed.waiting(target.quote.offer.model),
                slots=target.listed.slots(target.quote.offer.model),
            )
            for position, target in enumerate(targets)
            if target.listed.link.open_for_requests
        ]
        choice = choose(choices, secrets.randbelow)
        return targets[choice.index] if choice is not None else None


def _attempt_row(c: str, attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        bytes.fromhex(c), attempt.number, attempt.worker, attempt.ticket, attempt.offer
    )


def _not_run(run: Run, refusal: SignedRefusal) -> NotRun:
    """The client's error for signed refusals: 400 when it is at fault, else 422."""
    at_fault = refusal.refusal.fault == "client"
    message = refusal.message if isinstance(refusal.message, str) else "the worker refused"
    return NotRun(
        message if at_fault else f"every chosen worker refused: {message}",
        refusals=list(run.refusals),
        code=refusal.refusal.code if at_fault else NoCandidate.code,
        status=400 if at_fault else 422,
    )
