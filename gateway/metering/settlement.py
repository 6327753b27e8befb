"""What a batch of settlements does to the books (SPEC 5.4, 6). Pure; both stores execute the plan.

The store has locked the batch's claims and read them and the batch's receipts; what it then writes
is all here. A row for a claim that is settled already changes nothing but may leave a receipt.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from gateway.channels.rows import channel_account
from gateway.metering.rows import (
    FEES_ACCOUNT,
    Disposition,
    Outcome,
    SettlementRow,
    SignedStatement,
    VerdictRow,
)

OVER_RESERVE = "charge_above_reserve"


class ClaimState(msgspec.Struct, frozen=True, gc=False):
    """The columns of a claim that decide."""

    account: str
    slot: int
    epoch: int
    reserve: int
    deadline: int
    charge: int | None
    tier: str
    model: str
    key: str
    rationed: bool
    channel: str | None = None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """How a stored statement was judged."""

    disposition: Disposition
    code: str | None


LedgerValues: TypeAlias = tuple[str, str, int, str, str, int]
"""txn, account, amount_nano, kind, ref, at"""
ReceiptValues: TypeAlias = tuple[bytes, bytes, str, str, str, bytes, str, str | None, int, int]
"""statement_hash, c, id, worker, status, document, disposition, code, charge_nano, at"""
LeaseKey: TypeAlias = tuple[str, int, int]
"""account, slot, epoch; or key, slot, epoch"""
UsageKey: TypeAlias = tuple[int, str, str, str, str]
"""day, account, key, tier, model"""
MS_PER_DAY = 86_400_000


@dataclass(slots=True)
class Plan:
    """Writes of one transaction, and the outcome of each row."""

    settled: list[tuple[int, bytes | None, bytes]] = field(default_factory=list)
    accounts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    leases: dict[LeaseKey, int] = field(default_factory=lambda: defaultdict(int))
    allowances: dict[LeaseKey, int] = field(default_factory=lambda: defaultdict(int))
    """What budgets of keys shrink by, of the claims that were reserved there too."""
    channels: dict[str, list[int]] = field(default_factory=dict)
    """By channel: the reserves that it gets back and the charges that it pays."""
    usage: dict[UsageKey, list[int]] = field(default_factory=dict)
    """requests, prompt, cached, completion, reasoning, charge_nano to be added."""
    entries: list[LedgerValues] = field(default_factory=list)
    receipts: list[ReceiptValues] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


def plan_settlement(
    rows: Iterable[SettlementRow],
    claims: Mapping[bytes, ClaimState],
    verdicts: Mapping[bytes, Verdict],
    *,
    now: int,
) -> Plan:
    """Decide every row in order; a claim named twice is settled by the first row."""
    plan = Plan()
    known = dict(verdicts)
    charges: dict[bytes, int | None] = {c: state.charge for c, state in claims.items()}
    for row in rows:
        plan.outcomes.append(_decide(plan, row, claims.get(row.c), (known, charges), now))
    return plan


_Working: TypeAlias = tuple[dict[bytes, Verdict], dict[bytes, int | None]]


def _decide(
    plan: Plan, row: SettlementRow, claim: ClaimState | None, working: _Working, now: int
) -> Outcome:
    known, charges = working
    charge = charges.get(row.c)
    signed = row.statement
    if signed is not None and (earlier := known.get(signed.statement_hash)) is not None:
        return Outcome(row.c, earlier.disposition, earlier.code, charge)
    if claim is None:
        return Outcome(row.c, None, None, None)
    if charge is None and row.charge <= claim.reserve:
        charge = charges[row.c] = row.charge
        _bill(plan, row, claim, now)
        verdict = Verdict(Disposition.BILLED, None)
    else:
        verdict = _late(claim, charge, now)
    if signed is None:
        return Outcome(row.c, None, None, charge)
    known[signed.statement_hash] = verdict
    cost = row.charge if verdict.disposition is Disposition.BILLED else 0
    plan.receipts.append(receipt_values(row.c, signed, verdict, charge=cost, now=now))
    return Outcome(row.c, verdict.disposition, verdict.code, charge)


def _late(claim: ClaimState, charge: int | None, now: int) -> Verdict:
    if charge is None:
        return Verdict(Disposition.INVALID, OVER_RESERVE)
    if claim.deadline <= now:
        return Verdict(Disposition.EXPIRED, None)
    return Verdict(Disposition.SUPERSEDED, None)


def _bill(plan: Plan, row: SettlementRow, claim: ClaimState, now: int) -> None:
    signed = row.statement
    plan.settled.append((row.charge, signed.statement_hash if signed else None, row.c))
    if claim.channel is not None:
        paid = plan.channels.setdefault(claim.channel, [0, 0])
        paid[0] += claim.reserve
        paid[1] += row.charge
    if signed is not None:
        _count(plan, row, claim, now)
    if not row.charge or signed is None:
        return
    txn, ref = row.c.hex(), signed.statement_hash.hex()
    payer = claim.account
    if claim.channel is not None:
        payer = channel_account(claim.channel)
    else:
        plan.leases[payer, claim.slot, claim.epoch] += row.charge
    plan.accounts[payer] -= row.charge
    plan.entries.append((txn, payer, -row.charge, "charge", ref, now))
    if row.amount:
        plan.accounts[row.payee] += row.amount
        plan.entries.append((txn, row.payee, row.amount, "earning", ref, now))
    if row.fee:
        plan.accounts[FEES_ACCOUNT] += row.fee
        plan.entries.append((txn, FEES_ACCOUNT, row.fee, "fee", ref, now))


def _count(plan: Plan, row: SettlementRow, claim: ClaimState, now: int) -> None:
    """Add what was billed to its day, account, key, tier and model."""
    where = (now // MS_PER_DAY, claim.account, claim.key, claim.tier, claim.model)
    total = plan.usage.get(where)
    added = (1, *row.tokens, row.charge)
    if total is None:
        plan.usage[where] = list(added)
    else:
        for index, value in enumerate(added):
            total[index] += value
    if claim.rationed:
        plan.allowances[claim.key, claim.slot, claim.epoch] += row.charge


def plan_verdicts(
    rows: Iterable[VerdictRow],
    charges: Mapping[bytes, int | None],
    verdicts: Mapping[bytes, Verdict],
    *,
    now: int,
) -> Plan:
    """Store verdicts on statements that have none yet; `charges` are those of known claims."""
    plan = Plan()
    known = dict(verdicts)
    for row in rows:
        signed = row.statement
        verdict = known.get(signed.statement_hash)
        if verdict is None:
            verdict = known[signed.statement_hash] = Verdict(row.disposition, row.code)
            plan.receipts.append(receipt_values(row.c, signed, verdict, charge=0, now=now))
        plan.outcomes.append(Outcome(row.c, verdict.disposition, verdict.code, charges.get(row.c)))
    return plan


def receipt_values(
    c: bytes, signed: SignedStatement, verdict: Verdict, *, charge: int, now: int
) -> ReceiptValues:
    """A row of the receipt table."""
    return (
        signed.statement_hash,
        c,
        signed.id,
        signed.worker,
        signed.status,
        signed.document,
        verdict.disposition.value,
        verdict.code,
        charge,
        now,
    )


def kind_of(account: str) -> str:
    """The kind of an account that settlements create on first use."""
    return "gateway" if account == FEES_ACCOUNT else "worker"
