"""The settlement desk: statements come in, dispositions go out (SPEC 1.5, 6).

A terminal statement is checked against its claim at once, waits for the worker's next `settle`
batch, and is settled when that one signature has proved it. Statements resent from a worker's
journal bring their own proof and are judged against the database.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import msgspec
import structlog

from bombyx import canonical
from bombyx.envelope.walker import UsageNoted
from bombyx.errors import AlreadyAnswered, BadReceipt, BombyxError, NotCanonical, StoreBusy
from bombyx.link.documents import MAX_DISPOSITIONS, Disposition, Settle, SignedLost
from bombyx.money.batch import leaf_hash, root
from bombyx.money.receipt import Receipt, check_membership, verify_receipt
from bombyx.money.settlement import (
    Claim,
    InvalidStatement,
    Outcome,
    Passed,
    check_statement,
    judge,
)
from bombyx.money.statement import Statement, Status
from bombyx.signing import Kind, verify
from gateway.inference.answer import Answer
from gateway.metering.meter import Meter
from gateway.metering.rows import WORKER_PREFIX, SettlementRow, SignedStatement, VerdictRow
from gateway.metering.rows import Disposition as Judged
from gateway.metering.rows import Outcome as Settled
from gateway.workers.proof import Proofs
from gateway.workers.registry import Listed

MAX_PROVED_AHEAD = 4096
"""Leaves proved before their statements came: a batch may overtake the streams that it covers."""
SETTLE_PATIENCE_SECONDS = 3.0
"""How long a statement waits for its `settle` batch before its own signature is checked."""
WAIVE_SECONDS = 10.0
"""How long a client that was sent away waits for its note while the database cannot be written."""

_log = structlog.get_logger()


class Pending(msgspec.Struct, frozen=True):
    """A checked terminal statement that waits for its proof; `since` in monotonic seconds."""

    receipt: Receipt
    signed: SignedStatement
    verdict: Outcome
    listed: Listed
    payout: str
    since: float


@dataclass(frozen=True, slots=True)
class Held:
    """The last partial receipts of a request that has not ended, unread (SPEC 6.1)."""

    usages: tuple[UsageNoted, ...]
    claim: Claim
    listed: Listed


class Desk:
    """Statements of all links of this process; `now` is monotonic seconds, `now_ms` unix time."""

    def __init__(
        self,
        meter: Meter,
        *,
        gateway: str,
        proofs: Proofs,
        now: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self.on_billed: Callable[[Listed], None] = _nobody_pays
        """Called when a bill of a worker is in the ledger, behind its disposition."""
        self._meter = meter
        self._gateway = gateway
        self._proofs = proofs
        self._now = now
        self._now_ms = now_ms
        self._pending: dict[tuple[str, bytes], Pending] = {}
        self._proved: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._held: dict[str, Held] = {}
        self._acks: dict[Listed, list[Disposition]] = {}
        self._tasks: set[asyncio.Future[Settled]] = set()

    @property
    def waiting(self) -> int:
        """Statements whose proof is still to come."""
        return len(self._pending)

    def take_held(self, c: str) -> Held | None:
        """The newest partial receipts of a request that never ended, for its deadline."""
        return self._held.pop(c, None)

    def attempt_over(self, claim: Claim, listed: Listed, answer: Answer) -> int:
        """Take the terminal statement of an attempt, or keep its last partial.

        Returns the tokens of completion that the worker counted in it.
        """
        tokens = 0
        if answer.statement is not None:
            hashed, size = answer.passage.position()
            tokens = self._take(answer.statement, claim, listed, Passed(hashed.hex(), size))
        elif answer.usages and answer.passage.ended:
            noted = answer.usages.pop()
            passed = Passed(noted.resp_ct_hash.hex(), noted.resp_ct_bytes)
            tokens = self._take(noted.receipt, claim, listed, passed)
        if answer.usages:
            # Also beside a terminal statement: one that does not hold takes no good partial along.
            self._held[claim.c] = Held(tuple(answer.usages), claim, listed)
        return tokens

    def on_settle(self, listed: Listed, settle: Settle) -> None:
        """One signature proves all its leaves; raises `BombyxError` for a bad one."""
        keyset, batch = listed.verified.keyset, settle.batch
        leaves = [bytes.fromhex(leaf) for leaf in settle.leaves]
        if batch.boot != keyset.boot or len(leaves) != batch.count:
            raise BadReceipt("a settle batch of another worker boot or size")
        if root(leaves).hex() != batch.root:
            raise BadReceipt("a settle batch whose root is not that of its leaves")
        signature = bytes.fromhex(settle.signature)
        verify(Kind.SETTLE, batch, signature, bytes.fromhex(keyset.receipt_key))
        if batch.gateway != self._gateway:
            raise BadReceipt("a settle batch for another gateway")
        for leaf in leaves:
            pending = self._pending.pop((listed.worker, leaf), None)
            if pending is not None:
                self._settle(pending)
            else:
                self._proved[listed.worker, leaf] = None
        while len(self._proved) > MAX_PROVED_AHEAD:
            self._proved.popitem(last=False)

    def sweep(self) -> None:
        """Check on their own the statements whose batch never came."""
        late = self._now() - SETTLE_PATIENCE_SECONDS
        for key, pending in list(self._pending.items()):
            if pending.since > late:
                continue
            del self._pending[key]
            self._prove_alone(pending)

    def on_unlinked(self, listed: Listed) -> None:
        """No batch comes from there any more: check what waits for one on its own."""
        for key, pending in list(self._pending.items()):
            if pending.listed is listed:
                del self._pending[key]
                self._prove_alone(pending)

    def settle_nothing(self, row: SettlementRow) -> "asyncio.Future[Settled]":
        """Close a claim that nobody answered."""
        settled = self._meter.settle(row)
        self._watch(settled)
        settled.add_done_callback(lambda _: self._proofs.on_settled(row.c))
        return settled

    async def waive(self, settled: "asyncio.Future[Settled]") -> SignedLost:
        """The note that a claim is never billed, signed once its settlement is on stable storage.

        Raises `AlreadyAnswered` where somebody billed it first, `StoreBusy` where it is not known.
        """
        try:
            async with asyncio.timeout(WAIVE_SECONDS):
                outcome = await asyncio.shield(settled)
        except TimeoutError:
            raise StoreBusy("the end of the request is not written yet; try again") from None
        if outcome.charge is None:
            raise StoreBusy("the request's claim was lost; try again")
        if outcome.charge:
            raise AlreadyAnswered("the request was run: ask for its receipt", c=outcome.c)
        return self._proofs.note(outcome.c)

    def judge_resent(
        self, receipt: Receipt, document: bytes, claim: Claim, *, listed: Listed, payout: str
    ) -> None:
        """A statement from a journal, proved already, against a claim of the database."""
        try:
            attempt = check_statement(receipt.statement, claim, passed=None)
        except InvalidStatement as error:
            signed = _signed(receipt.statement, document)
            self._record(receipt.statement, signed, listed, Judged.INVALID, error.reason)
            return
        verdict = judge(receipt.statement, claim, attempt=attempt, now_ms=self._now_ms())
        signed = _signed(receipt.statement, document)
        self._settle(Pending(receipt, signed, verdict.outcome, listed, payout, self._now()))

    def record_expired(self, statement: Statement, document: bytes, listed: Listed) -> None:
        """A proved statement whose claim is unknown and past its deadline: the last word on it."""
        signed = _signed(statement, document)
        self._record(statement, signed, listed, Judged.EXPIRED, None)

    def record_superseded(self, statement: Statement, document: bytes, listed: Listed) -> None:
        """A proved statement whose claim was closed for nothing, under our note, before it came."""
        signed = _signed(statement, document)
        self._record(statement, signed, listed, Judged.SUPERSEDED, None)

    def _take(self, document: bytes, claim: Claim, listed: Listed, passed: Passed) -> int:
        try:
            receipt = canonical.decode(document, Receipt)
        except NotCanonical as error:
            _log.warning("statement_unreadable", worker=listed.worker, reason=error.message)
            return 0
        statement = receipt.statement
        if statement.status is Status.PARTIAL:
            _log.warning("statement_not_terminal", worker=listed.worker)
            return 0
        try:
            attempt = check_statement(statement, claim, passed=passed)
        except InvalidStatement as error:
            # A verdict is for ever, so it needs the signature: else whoever shows another worker's
            # statement here first would spoil it.
            if _is_signed(receipt, listed):
                signed = _signed(statement, document)
                self._record(statement, signed, listed, Judged.INVALID, error.reason)
            return 0
        verdict = judge(statement, claim, attempt=attempt, now_ms=self._now_ms())
        signed, leaf = _signed_with_leaf(statement, document)
        pending = Pending(receipt, signed, verdict.outcome, listed, listed.payout, self._now())
        if self._proved.pop((listed.worker, leaf), leaf) is None:
            self._settle(pending)
        else:
            self._pending[listed.worker, leaf] = pending
        return statement.tokens.completion

    def _prove_alone(self, pending: Pending) -> None:
        key = bytes.fromhex(pending.listed.verified.keyset.receipt_key)
        try:
            verify_receipt(pending.receipt, key)
        except BombyxError as error:
            _log.warning("statement_unproved", worker=pending.listed.worker, reason=error.message)
            return
        self._settle(pending)

    def _settle(self, pending: Pending) -> None:
        statement, listed = pending.receipt.statement, pending.listed
        if pending.verdict is not Outcome.BILLED:
            judged = Judged(pending.verdict.value)
            self._record(statement, pending.signed, listed, judged, None)
            return
        signed = pending.signed
        row = SettlementRow(
            c=bytes.fromhex(statement.c),
            amount=int(statement.amount_nano),
            fee=int(statement.fee_nano),
            payee=WORKER_PREFIX + pending.payout,
            statement=signed,
            tokens=msgspec.structs.astuple(statement.tokens),
        )
        self._answer(self._meter.settle(row), listed, signed)

    def _record(
        self,
        statement: Statement,
        signed: SignedStatement,
        listed: Listed,
        judged: Judged,
        code: str | None,
    ) -> None:
        if judged is Judged.INVALID:
            _log.warning("statement_invalid", worker=listed.worker, reason=code, c=statement.c)
        row = VerdictRow(bytes.fromhex(statement.c), signed, judged, code)
        self._answer(self._meter.record(row), listed, signed)

    def _answer(
        self, settled: "asyncio.Future[Settled]", listed: Listed, signed: SignedStatement
    ) -> None:
        """Tell the worker once the database has it for good."""

        def tell(done: "asyncio.Future[Settled]") -> None:
            self._tasks.discard(done)
            if done.cancelled() or done.exception() is not None:
                return
            outcome = done.result()
            if outcome.charge is not None:
                self._held.pop(outcome.c.hex(), None)
                self._proofs.on_settled(outcome.c)
            if outcome.disposition is Judged.SUPERSEDED:
                self._proofs.superseded(
                    outcome.c,
                    signed.statement_hash,
                    partial(self._ack, listed),
                    settled=outcome.charge is not None,
                )
            elif outcome.disposition is not None:
                self._ack(listed, _disposition(signed, outcome))
                if outcome.disposition is Judged.BILLED:
                    self.on_billed(listed)

        self._tasks.add(settled)
        settled.add_done_callback(tell)

    def _watch(self, settled: "asyncio.Future[Settled]") -> None:
        self._tasks.add(settled)
        settled.add_done_callback(self._tasks.discard)

    def _ack(self, listed: Listed, disposition: Disposition) -> None:
        """Collect the dispositions of one loop turn into one message."""
        if not self._acks:
            asyncio.get_running_loop().call_soon(self._flush_acks)
        self._acks.setdefault(listed, []).append(disposition)

    def _flush_acks(self) -> None:
        acks, self._acks = self._acks, {}
        for listed, dispositions in acks.items():
            for at in range(0, len(dispositions), MAX_DISPOSITIONS):
                listed.link.acknowledge(dispositions[at : at + MAX_DISPOSITIONS])


def _nobody_pays(_listed: Listed) -> None:
    """Without a chain the ledger is all there is."""


def _is_signed(receipt: Receipt, listed: Listed) -> bool:
    """Whether this very worker signed the statement, whatever it says."""
    key = bytes.fromhex(listed.verified.keyset.receipt_key)
    try:
        check_membership(receipt)
        verify(Kind.BATCH, receipt.batch, bytes.fromhex(receipt.signature), key)
    except BombyxError as error:
        _log.warning("statement_unproved", worker=listed.worker, reason=error.message)
        return False
    return True


def _signed(statement: Statement, document: bytes) -> SignedStatement:
    return _signed_with_leaf(statement, document)[0]


def _signed_with_leaf(statement: Statement, document: bytes) -> tuple[SignedStatement, bytes]:
    """A row for the database and the Merkle leaf: both hash the same bytes, encoded once."""
    raw = canonical.encode(statement)
    signed = SignedStatement(
        statement_hash=sha256(raw).digest(),
        id=statement.id,
        worker=statement.worker,
        status=statement.status.value,
        document=document,
    )
    return signed, leaf_hash(raw)


def _disposition(signed: SignedStatement, outcome: Settled) -> Disposition:
    judged = outcome.disposition
    if judged is None:
        raise ValueError("a claim that is not known has no disposition")
    if outcome.code is None:
        return Disposition(statement=signed.statement_hash.hex(), disposition=judged.value)
    return Disposition(
        statement=signed.statement_hash.hex(), disposition=judged.value, code=outcome.code
    )
