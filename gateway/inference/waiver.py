"""What no worker was asked to run is closed for good before its client is sent away (SPEC 14.3).

The client seals anew on our signed note, so nobody may bill the old commitment afterwards: it is
claimed and settled at nothing, on stable storage, before the note is signed.
"""

from hashlib import sha256

from bombyx.envelope.request import RequestHead
from bombyx.errors import BombyxError, RequestError
from bombyx.money.settlement import Claim
from bombyx.units import Nano
from gateway.context import Context, unix_ms
from gateway.inference.dispatcher import earlier
from gateway.inference.run import Run
from gateway.inference.wire import NotRun
from gateway.metering.rows import Conflict, NewClaim, SettlementRow

OPEN_MS = 60_000
"""Until when a claim that this process did not live to settle is settled by any other."""


def claim_of(head: RequestHead, frames: bytes) -> Claim:
    """A sealed request as its claim; deadline and attempts are still to come."""
    header = head.header.header
    return Claim(
        c=head.c.hex(),
        h=head.header.h.hex(),
        id=header.id,
        payer=header.payer,
        gateway=header.gateway,
        tier=header.tier,
        model=header.model,
        fee_bps=header.fee_bps,
        reserve=Nano(int(header.max_cost_nano)),
        max_input_tokens=header.max_input_tokens,
        max_output_tokens=header.max_output_tokens,
        req_ct_hash=sha256(frames).hexdigest(),
        deadline_ms=0,
        attempts=(),
    )


async def waive(
    context: Context, head: RequestHead, frames: bytes, *, account: str, refused: RequestError
) -> NotRun:
    """The answer to a request that was refused before its claim: as it was, with a note.

    No other coroutine may run between the refusal and this call. Raises `InProgress`,
    `AlreadyAnswered` or `CommitmentConflict` where the commitment was claimed before, and what
    `Meter.claim` raises.
    """
    # The same bytes that come meanwhile join this run, and are told the same.
    run = Run(account, claim_of(head, frames))
    context.runs.add(run)
    try:
        told = await _close(context, run, refused)
    except BombyxError as error:
        run.decide(error)
        raise
    else:
        run.decide(told)
        return told
    finally:
        context.runs.remove(run)
        run.give_up()


async def _close(context: Context, run: Run, refused: RequestError) -> NotRun:
    new = _unrun(run.claim, run.account)
    result = await context.meter.claim(new)
    if isinstance(result, Conflict):
        raise earlier(result.stored, run.account, new.h)
    lost = await context.desk.waive(context.desk.settle_nothing(SettlementRow(new.c)))
    return NotRun(
        refused.message,
        refusals=[],
        code=refused.code,
        status=refused.status,
        lost=lost,
        param=refused.param,
    )


def _unrun(claim: Claim, account: str) -> NewClaim:
    """A claim that no statement fits: it has no worker, ticket, offer or reserve.

    Nor is its header kept, since nothing is ever judged by it.
    """
    return NewClaim(
        c=bytes.fromhex(claim.c),
        h=bytes.fromhex(claim.h),
        id=claim.id,
        account=account,
        reserve=0,
        deadline=unix_ms() + OPEN_MS,
        tier="sealed",
        model=claim.model,
        payer=claim.payer,
        fee_bps=claim.fee_bps,
        header=b"",
        req_ct_hash=bytes.fromhex(claim.req_ct_hash),
        worker="",
        ticket="",
        offer="",
    )
