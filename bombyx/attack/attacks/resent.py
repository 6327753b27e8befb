"""A lying worker that sends statements later, over the link instead of a stream (SPEC 6.6)."""

import os

import msgspec

from bombyx import canonical
from bombyx.attack.attacks.statements import asking
from bombyx.attack.defence import Defence
from bombyx.attack.means.dialling import lying
from bombyx.attack.means.liar import Job, Liar
from bombyx.attack.record import Role, Seen, attack, judged
from bombyx.attack.target import Need, Target
from bombyx.link.documents import Disposition
from bombyx.link.frames import LinkType
from bombyx.money.statement import Statement

VERDICT_SECONDS = 1.0


async def _paid_once(liar: Liar, job: Job) -> Statement:
    """Answer honestly and be paid; the statement that was billed."""
    await liar.begin(job)
    statement = liar.statement(job)
    await liar.finish(job, statement)
    verdict = await liar.disposition()
    if verdict is None or verdict.disposition != "billed":
        raise ValueError(f"an honest statement was not billed: {verdict}")
    return statement


async def _resent(liar: Liar, statement: Statement) -> Seen:
    """Send a statement as out of a journal, with its own proof."""
    await liar.document(LinkType.STATEMENT, canonical.encode(liar.receipt(statement)))
    verdict: Disposition | None = await liar.disposition(VERDICT_SECONDS)
    said = "nothing" if verdict is None else f"{verdict.disposition} {verdict.code or ''}".strip()
    return judged(verdict is not None and verdict.disposition == "billed", f"judged: {said}")


@attack(
    Role.WORKER,
    Defence.CLAIMS,
    "superseded: the claim is settled",
    Need.GATEWAY,
    Need.SIMULATOR,
)
async def settled_claim_billed_again(target: Target) -> Seen:
    """Opens a settled claim again with a later statement that counts more."""
    async with lying(target) as liar, asking(target, liar):
        job = await liar.job()
        await _paid_once(liar, job)
        return await _resent(liar, liar.statement(job, completion=200, seq=1))


@attack(
    Role.WORKER,
    Defence.CLAIMS,
    "nothing is judged: the ticket is for another claim",
    Need.GATEWAY,
    Need.SIMULATOR,
)
async def claim_invented_from_ticket(target: Target) -> Seen:
    """States a request that never was, with the genuine ticket of another, to have it restored."""
    async with lying(target) as liar, asking(target, liar):
        job = await liar.job()
        paid = await _paid_once(liar, job)
        made_up = msgspec.structs.replace(
            paid, c=os.urandom(32).hex(), id=os.urandom(16).hex(), n=paid.n + 1
        )
        return await _resent(liar, made_up)


@attack(
    Role.WORKER,
    Defence.CLAIMS,
    "the same disposition again; one charge",
    Need.GATEWAY,
    Need.SIMULATOR,
)
async def statement_billed_twice(target: Target) -> Seen:
    """Sends a billed statement once more, as if its acknowledgement had been lost."""
    async with lying(target) as liar, asking(target, liar) as asked:
        job = await liar.job()
        paid = await _paid_once(liar, job)
        await _resent(liar, paid)
        charge = (await asked.forger.settled(asked.sealed.c)).get("charge_nano")
        return judged(charge != paid.charge_nano, f"charged {charge} nano for {paid.charge_nano}")
