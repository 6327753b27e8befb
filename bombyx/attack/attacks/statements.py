"""A lying worker that wants to be paid for what it did not do (SPEC 1, 6)."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bombyx import canonical
from bombyx.attack.defence import Defence
from bombyx.attack.means.billing import bill
from bombyx.attack.means.dialling import lying
from bombyx.attack.means.liar import Job, Liar
from bombyx.attack.means.requests import Forger, Reply
from bombyx.attack.record import Declare, Role, Seen, attack, defeated, judged, succeeded
from bombyx.attack.target import Need, Target
from bombyx.attestation.keyset import keyset_digest
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.envelope.request import SealedRequest
from bombyx.money.offer import Prices
from bombyx.money.statement import Statement, TokenCounts
from bombyx.signing import SEED_BYTES, Kind, Signer
from bombyx.signing import Role as KeyRole

OTHER = "ab" * 32
Proof = Callable[[Liar, Job, Statement], Awaitable[None]]
VERDICT_SECONDS = 1.0
"""A settlement takes a tenth of that."""


@dataclass(slots=True, repr=False)
class Asked:
    """A request on its way to the liar."""

    forger: Forger
    sealed: SealedRequest
    answer: "asyncio.Task[Reply]"

    async def verdict(self, liar: Liar | None = None) -> Seen:
        """Whether the gateway charged for it; what it tells the liar is waited for."""
        seconds = VERDICT_SECONDS
        if liar is not None and await liar.disposition(VERDICT_SECONDS) is not None:
            seconds = 0.0
        settled = await self.forger.settled(self.sealed.c, seconds=seconds)
        charge = int(settled.get("charge_nano", "0"))
        said = f"{settled.get('state')}, {settled.get('disposition', 'nothing judged')}"
        return judged(charge > 0, f"{said}, charged {charge} nano")


@contextlib.asynccontextmanager
async def asking(target: Target, liar: Liar, forger: Forger | None = None) -> AsyncIterator[Asked]:
    """A user's honest request, sealed to the liar alone."""
    forger = forger or Forger(target)
    listed = await forger.directory()
    entries = [one for one in listed.workers if keyset_digest(one.keyset) == liar.worker]
    body = forger.chat("say: silk")
    sealed = forger.seal(forger.header(listed, entries, body), entries, body)
    task = asyncio.create_task(forger.post(sealed.encode()))
    try:
        yield Asked(forger, sealed, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lie(target: Target, **changes: Any) -> Seen:
    """Answer a request and state something else of it."""
    completion = changes.pop("completion", 10)
    async with lying(target) as liar, asking(target, liar) as asked:
        job = await liar.job()
        await liar.begin(job)
        await liar.finish(job, liar.statement(job, completion=completion, **changes))
        return await asked.verdict(liar)


def statement_attack(expected: str) -> Declare:
    """An attack by a statement that must be judged invalid."""
    return attack(Role.WORKER, Defence.VALID_STATEMENT, expected, Need.GATEWAY, Need.SIMULATOR)


@statement_attack("invalid: max_output_tokens")
async def tokens_inflated(target: Target) -> Seen:
    """Counts more tokens than the header allows."""
    return await lie(target, completion=4001)


@statement_attack("invalid: prices")
async def prices_raised_after_the_fact(target: Target) -> Seen:
    """Bills at other prices than those of the offer that the header names."""
    dear = Prices(prompt="20000000", cached="5000000", completion="61000000", reasoning="61000000")
    amount = -(-(5 * 20_000_000 + 10 * 61_000_000) // 10**6)
    fee = -(-amount * 500 // 10**4)
    return await lie(
        target,
        prices=dear,
        amount_nano=str(amount),
        fee_nano=str(fee),
        charge_nano=str(amount + fee),
    )


@statement_attack("invalid: req_ct_hash")
async def other_request_claimed(target: Target) -> Seen:
    """States that it answered other bytes than those it was sent."""
    return await lie(target, req_ct_hash=OTHER)


@statement_attack("invalid: resp_ct_hash")
async def other_answer_claimed(target: Target) -> Seen:
    """States that it sent an answer which the gateway never saw."""
    return await lie(target, resp_ct_hash=OTHER)


@statement_attack("invalid: model")
async def other_model_claimed(target: Target) -> Seen:
    """States that a dearer model answered than the one asked for."""
    return await lie(target, model="gpt-7", weights=OTHER, engine=OTHER)


@statement_attack("invalid: worker_or_ticket")
async def statement_in_anothers_name(target: Target) -> Seen:
    """Signs a statement in the name of another worker."""
    return await lie(target, worker=OTHER)


@attack(Role.WORKER, Defence.ARITHMETIC, "invalid: arithmetic", Need.GATEWAY, Need.SIMULATOR)
async def sum_does_not_add_up(target: Target) -> Seen:
    """Charges more than its own counts and prices come to."""
    return await lie(target, amount_nano="9000", fee_nano="450", charge_nano="9450")


@attack(Role.WORKER, Defence.ARITHMETIC, "invalid: arithmetic", Need.GATEWAY, Need.SIMULATOR)
async def cached_beyond_prompt(target: Target) -> Seen:
    """Counts more cached tokens than the prompt had, and bills the sum as if it had."""
    tokens = TokenCounts(prompt=5, cached=6, completion=10, reasoning=0)
    return await lie(target, tokens=tokens)


@statement_attack("invalid: nothing of the other user's request is on this stream")
async def one_users_request_billed_to_another(target: Target) -> Seen:
    """Answers one user's request with a statement that names another user's."""
    async with (
        lying(target) as liar,
        asking(target, liar) as first,
        asking(target, liar) as second,
    ):
        jobs = {job.open.c: job for job in (await liar.job(), await liar.job())}
        own, other = jobs[first.sealed.c], jobs[second.sealed.c]
        await liar.begin(own)
        stolen: dict[str, Any] = {
            "c": other.open.c.hex(),
            "h": other.h.hex(),
            "id": other.header.id,
            "payer": other.header.payer,
        }
        await liar.finish(own, liar.statement(own, **stolen))
        await first.answer
        for asked in (first, second):
            seen = await asked.verdict(liar)
            if seen.won:
                return seen
        return seen


@statement_attack("invalid: worker_or_ticket")
async def ticket_of_another_claim(target: Target) -> Seen:
    """Uses the genuine ticket of another request, to revive that claim for this statement."""
    async with (
        lying(target) as liar,
        asking(target, liar) as first,
        asking(target, liar) as second,
    ):
        jobs = {job.open.c: job for job in (await liar.job(), await liar.job())}
        own, other = jobs[first.sealed.c], jobs[second.sealed.c]
        await liar.begin(own)
        await liar.finish(own, liar.statement(own, ticket=other.open.ticket.hex()))
        return await first.verdict(liar)


async def _proved_by(target: Target, proof: Proof) -> Seen:
    """Answer honestly but prove the statement wrongly, then hang up to have it judged alone."""
    async with lying(target) as liar, asking(target, liar) as asked:
        job = await liar.job()
        await liar.begin(job)
        statement = liar.statement(job)
        await proof(liar, job, statement)
        await asked.answer
        await liar.socket.close()
        return await asked.verdict()


def batch_attack(expected: str) -> Declare:
    """An attack by a proof that must not hold."""
    return attack(Role.WORKER, Defence.BATCH_PROOF, expected, Need.GATEWAY, Need.SIMULATOR)


@batch_attack("nothing is settled without a valid signature")
async def receipt_unsigned(target: Target) -> Seen:
    """Ends an answer with a receipt under somebody else's key and hangs up."""

    async def proof(liar: Liar, job: Job, statement: Statement) -> None:
        stranger = Signer(KeyRole.RECEIPT, os.urandom(SEED_BYTES))
        await liar.end(job, liar.receipt(statement, signer=stranger))

    return await _proved_by(target, proof)


@batch_attack("nothing is settled: the statement is not in the batch")
async def merkle_path_forged(target: Target) -> Seen:
    """Signs a batch of another statement and forges the path that leads to it."""

    async def proof(liar: Liar, job: Job, statement: Statement) -> None:
        other = canonical.decode(
            canonical.encode(liar.statement(job, completion=1, n=statement.n)), Statement
        )
        genuine = liar.receipt(other)
        forged = type(genuine)(
            statement=statement,
            path=[],
            batch=genuine.batch,
            signature=genuine.signature,
        )
        await liar.end(job, forged)

    return await _proved_by(target, proof)


@batch_attack("the link fails: the batch's signature is wrong")
async def settle_batch_of_another_key(target: Target) -> Seen:
    """Sends a settle batch under a key that is not the worker's."""

    async def proof(liar: Liar, job: Job, statement: Statement) -> None:
        stranger = Signer(KeyRole.RECEIPT, os.urandom(SEED_BYTES))
        await liar.end(job, liar.receipt(statement, signer=stranger))
        await liar.settle(statement, signer=stranger)
        await asyncio.sleep(0.1)

    return await _proved_by(target, proof)


@batch_attack("the link fails: the root is not that of the leaves")
async def leaf_outside_of_settle_batch(target: Target) -> Seen:
    """Lists a leaf in a settle batch whose signed root does not cover it."""

    async def proof(liar: Liar, job: Job, statement: Statement) -> None:
        stranger = Signer(KeyRole.RECEIPT, os.urandom(SEED_BYTES))
        await liar.end(job, liar.receipt(statement, signer=stranger))
        await liar.settle(statement, root_of=bytes(32))
        await asyncio.sleep(0.1)

    return await _proved_by(target, proof)


@attack(
    Role.WORKER, Defence.SIGNATURE_KINDS, "a settle signature is no receipt's",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def settle_signature_as_receipt(target: Target) -> Seen:
    """Shows the signature of a settle batch as that of a receipt, which clients would believe."""

    async def proof(liar: Liar, job: Job, statement: Statement) -> None:
        batch = liar.batch(statement)
        receipt = type(liar.receipt(statement))(
            statement=statement,
            path=[],
            batch=batch,
            signature=liar.keys.receipt.sign(Kind.SETTLE, batch).hex(),
        )
        await liar.end(job, receipt)

    return await _proved_by(target, proof)


@attack(
    Role.WORKER, Defence.LINK_FRAMING, "the refusal after an answer settles nothing",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def refusal_after_data(target: Target) -> Seen:
    """Answers, then refuses, so that another worker answers too and the client sees both."""
    async with lying(target) as liar, asking(target, liar) as asked:
        job = await liar.job()
        await liar.begin(job)
        await liar.refuse(job, "busy", "worker")
        reply = await asked.answer
        has_note = bytes([FrameType.RELAY_NOTE]) in reply.body[-600:]
        seen = await asked.verdict()
        if seen.won or not (has_note or reply.status != 200):  # noqa: PLR2004 (HTTP's own)
            return succeeded(f"{reply}; {seen.observed}")
        return defeated(f"{reply} ended with a note; {seen.observed}")


@attack(
    Role.WORKER, Defence.LINK_FRAMING, "the link is closed: beyond its credit",
    Need.GATEWAY, Need.SIMULATOR,
)  # fmt: skip
async def credit_overdrawn(target: Target) -> Seen:
    """Sends megabytes on a stream that gave no credit, to fill the gateway's memory."""
    async with lying(target) as liar, asking(target, liar) as asked:
        job = await liar.job()
        # Heads alone, which no client may see: nothing is taken, so no credit comes back.
        piece = os.urandom(32) + encode_frame(FrameType.HEAD, 0, bytes(2**20)) * 3
        await liar.data(job, piece)
        alive = await liar.is_heard()
        seen = await asked.verdict()
        return judged(alive, f"link {'alive' if alive else 'closed'}; {seen.observed}")


@attack(Role.WORKER, Defence.RECEIPT_CHECK, "bad_receipt", Need.GATEWAY, Need.SIMULATOR)
async def client_shown_a_false_bill(target: Target) -> Seen:
    """Answers properly but hands the client a receipt for an answer that it did not send."""
    return await bill(target, resp_ct_hash=OTHER)


@attack(Role.WORKER, Defence.RECEIPT_CHECK, "bad_receipt", Need.GATEWAY, Need.SIMULATOR)
async def client_shown_anothers_bill(target: Target) -> Seen:
    """Answers properly but hands the client a receipt that names another payer."""
    return await bill(target, payer=OTHER)
