"""Statements out of a worker's journal (SPEC 6.6 to 6.8): proved by themselves, judged by the book.

They come after a lost link, a restart of either side or of both; the claim is then in the database
alone, and may even be missing there, when its ticket rebuilds it (SPEC 5.3).
"""

import structlog

from bombyx import canonical
from bombyx.attestation.keyset import Keyset
from bombyx.envelope.header import Header
from bombyx.errors import BadTicket, BombyxError, NotCanonical
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.settlement import Attempt, Claim
from bombyx.money.statement import Statement, Status
from bombyx.units import MAX_NANO, MAX_SAFE_INTEGER, Nano
from gateway.context import Context
from gateway.metering.rows import Attempt as AttemptRow
from gateway.metering.rows import Expired, NewClaim, StoredClaim
from gateway.metering.ticket import Ticket
from gateway.workers.registry import Listed

_log = structlog.get_logger(__name__)


class _TooLate(Exception):
    """Raised for a claim that is not in the database and whose deadline has passed."""


class _GivenUp(Exception):
    """Raised for a claim that was lost and then closed for a client that was sent away (14.3)."""


async def judge_resent(context: Context, listed: Listed, document: bytes) -> None:
    """Judge one resent receipt; what is unreadable or of another worker is only logged."""
    try:
        receipt = canonical.decode(document, Receipt)
        keyset = await _keyset(context, listed, receipt.statement.worker)
        if keyset is None or receipt.statement.status is Status.PARTIAL:
            _log.warning("resent_refused", worker=listed.worker, reason="unknown keyset or partial")
            return
        verify_receipt(receipt, bytes.fromhex(keyset.receipt_key))
        claim = await _claim(context, receipt.statement, keyset)
    except _TooLate:
        context.desk.record_expired(receipt.statement, document, listed)
        return
    except _GivenUp:
        context.desk.record_superseded(receipt.statement, document, listed)
        return
    except (NotCanonical, BombyxError) as error:
        _log.warning("resent_refused", worker=listed.worker, reason=error.message)
        return
    if claim is not None:
        context.desk.judge_resent(receipt, document, claim, listed=listed, payout=keyset.payout)


async def _keyset(context: Context, listed: Listed, worker: str) -> Keyset | None:
    """The keyset that signed, live or archived."""
    if worker == listed.worker:
        return listed.verified.keyset
    return await context.archive.keyset(worker)


async def _claim(context: Context, statement: Statement, keyset: Keyset) -> Claim | None:
    """The claim as the database has it, restored from the ticket where it has none."""
    c = bytes.fromhex(statement.c)
    stored = (await context.store.find_claims([c])).get(c)
    if stored is None:
        ticket = _own_ticket(context, statement)
        restored = _restored(statement, ticket)
        if isinstance(await context.meter.restore(restored, attempts=ticket.attempt), Expired):
            raise _TooLate
        stored = (await context.store.find_claims([c])).get(c)
    if stored is None:
        _log.warning("claim_not_restored", c=statement.c)
        return None
    if not stored.winner:
        _own_ticket(context, statement)
        raise _GivenUp
    attempts = [
        await _attempt(context, row, statement, keyset) for row in await context.store.attempts(c)
    ]
    return _facts(context, stored, tuple(one for one in attempts if one is not None))


def _own_ticket(context: Context, statement: Statement) -> Ticket:
    """The ticket, if it was sealed here for this very claim; raises `BadTicket`."""
    ticket = context.tickets.open(statement.ticket)
    if ticket.c != statement.c:
        raise BadTicket("the ticket is for another claim")
    return ticket


def _restored(statement: Statement, ticket: Ticket) -> NewClaim:
    return NewClaim(
        c=bytes.fromhex(statement.c),
        h=bytes.fromhex(statement.h),
        id=statement.id,
        account=ticket.account,
        reserve=int(ticket.reserve),
        deadline=ticket.deadline * 1000,
        tier=statement.tier,
        model=statement.model,
        payer=statement.payer,
        fee_bps=statement.fee_bps,
        header=b"",
        req_ct_hash=bytes.fromhex(statement.req_ct_hash),
        worker=statement.worker,
        ticket=statement.ticket,
        offer=statement.offer,
        key=ticket.key if isinstance(ticket.key, str) else "",
        channel=ticket.channel if isinstance(ticket.channel, str) else "",
    )


async def _attempt(
    context: Context, row: AttemptRow, statement: Statement, keyset: Keyset
) -> Attempt | None:
    """An attempt with its offer's prices; None when the offer was never archived."""
    offer = await context.archive.offer(row.offer)
    if offer is None:
        return None
    record = next((one for one in keyset.models if one.id == statement.model), None)
    return Attempt(
        number=row.number,
        worker=row.worker,
        ticket=row.ticket,
        offer=row.offer,
        prices=offer.prices,
        weights=record.weights if record else "",
        engine=record.engine if record else "",
    )


def _facts(context: Context, stored: StoredClaim, attempts: tuple[Attempt, ...]) -> Claim:
    """A stored claim as the judge sees it; limits come from its header, where it has one."""
    header = canonical.decode(stored.header, Header) if stored.header else None
    return Claim(
        c=stored.c.hex(),
        h=stored.h.hex(),
        id=stored.id,
        payer=stored.payer,
        gateway=context.gateway,
        tier=stored.tier,
        model=stored.model,
        fee_bps=stored.fee_bps,
        reserve=Nano(min(stored.reserve, MAX_NANO)),
        max_input_tokens=header.max_input_tokens if header else MAX_SAFE_INTEGER,
        max_output_tokens=header.max_output_tokens if header else MAX_SAFE_INTEGER,
        req_ct_hash=stored.req_ct_hash.hex(),
        deadline_ms=stored.deadline,
        attempts=attempts,
    )
