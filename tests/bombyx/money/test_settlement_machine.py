"""SPEC 6: lying workers against one claim; whatever they sign, it is billed once and in bounds.

The machine is a gateway of a few lines over the pure rules: it dispatches attempts, holds
partials, settles terminal statements and promotes the held partial at the deadline.
"""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.money.settlement import (
    Attempt,
    InvalidStatement,
    Outcome,
    Verdict,
    check_statement,
    judge,
)
from bombyx.money.statement import Statement, Status, TokenCounts, statement_hash
from tests import factories
from tests.factories import PRICES, claim, hex_of, statement, worker

WORKERS = [worker(name) for name in ("worker", "second", "third")]
LIES = st.sampled_from(
    [
        {},
        {},
        {},
        {"c": hex_of("another request")},
        {"payer": hex_of("another user")},
        {"ticket": hex_of("forged")},
        {"worker": WORKERS[0].id},
        {"prices": msgspec.structs.replace(PRICES, completion="999999999")},
        {"fee_bps": 0},
        {"charge_nano": "1"},
        {"offer": hex_of("dearer offer")},
    ]
)
DEADLINE_IN = 900_000
counts = st.integers(0, 300)


class LyingWorkers(RuleBasedStateMachine):
    """One claim, up to three attempts, statements of any kind at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.claim = claim(attempts=())
        self.now = 0
        self.held: Statement | None = None
        self.settled_by: str | None = None
        self.settled = False
        self.streaming = False
        self.ledger: list[tuple[str, int]] = []
        self.dispositions: dict[str, Outcome] = {}
        self.signed: list[Statement] = []

    @precondition(
        lambda self: not (self.settled or self.streaming) and len(self.claim.attempts) < 3
    )
    @rule()
    def dispatch(self) -> None:
        number = len(self.claim.attempts)
        tried = factories.attempt(
            WORKERS[number], number=number + 1, ticket=f"{number + 1:02x}" * 8
        )
        self.claim = msgspec.structs.replace(self.claim, attempts=(*self.claim.attempts, tried))
        self.held = None

    @precondition(lambda self: self.claim.attempts)
    @rule()
    def first_byte(self) -> None:
        self.streaming = True

    @rule(ms=st.sampled_from([1_000, 400_000]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(
        who=st.integers(0, 2),
        seq=st.integers(0, 5),
        prompt=counts,
        cached=counts,
        completion=counts,
        reasoning=counts,
        status=st.sampled_from(Status),
        lie=LIES,
    )
    def sign(
        self,
        who: int,
        seq: int,
        *,
        prompt: int,
        cached: int,
        completion: int,
        reasoning: int,
        status: Status,
        lie: dict[str, Any],
    ) -> None:
        used = TokenCounts(
            prompt=prompt,
            cached=min(cached, prompt),
            completion=completion,
            reasoning=min(reasoning, completion),
        )
        fields: dict[str, Any] = {"ticket": f"{who + 1:02x}" * 8, "seq": seq, "tokens": used}
        document = statement(WORKERS[who], status=status, **fields | lie)
        self.signed.append(document)
        self.receive(document)

    @precondition(lambda self: self.signed)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        document = data.draw(st.sampled_from(self.signed))
        before = self.dispositions.get(statement_hash(document).hex())
        charges = list(self.ledger)
        self.receive(document)
        after = self.dispositions.get(statement_hash(document).hex())
        if before is not None:
            assert after == before
            assert self.ledger == charges

    @precondition(lambda self: not self.settled and self.now > DEADLINE_IN)
    @rule()
    def reap(self) -> None:
        self.settle(self.held)

    @property
    def clock(self) -> int:
        return self.claim.deadline_ms - DEADLINE_IN + self.now

    def receive(self, document: Statement) -> None:
        name = statement_hash(document).hex()
        if name in self.dispositions:
            return  # stored, and repeated as it is
        try:
            attempt = check_statement(document, self.claim, passed=None, held=self.held_now)
        except InvalidStatement:
            if document.status is not Status.PARTIAL:
                self.dispositions[name] = Outcome.INVALID
            return
        if document.status is Status.PARTIAL:
            if attempt == self.claim.winner and not self.settled:
                self.held = document
            return
        self.dispositions[name] = self.conclude(document, attempt).outcome

    @property
    def held_now(self) -> Statement | None:
        return None if self.settled else self.held

    def conclude(self, document: Statement, attempt: Attempt) -> Verdict:
        name = statement_hash(document).hex()
        if self.settled:
            return Verdict(self.too_late(name, attempt))
        verdict = judge(document, self.claim, attempt=attempt, now_ms=self.clock)
        if verdict.outcome is Outcome.BILLED:
            assert self.held is None or document.seq > self.held.seq
            self.settle(document)
        return verdict

    def too_late(self, name: str, attempt: Attempt) -> Outcome:
        """What becomes of a statement whose claim is settled, as the gateway's books decide it."""
        if name == self.settled_by:
            return Outcome.BILLED
        is_winner = attempt == self.claim.winner
        return Outcome.EXPIRED if is_winner and self.now > DEADLINE_IN else Outcome.SUPERSEDED

    def settle(self, document: Statement | None) -> None:
        self.settled = True
        if document is not None:
            self.settled_by = statement_hash(document).hex()
            self.ledger.append((document.worker, int(document.charge_nano)))
            self.dispositions[self.settled_by] = Outcome.BILLED

    @invariant()
    def one_request_is_billed_at_most_once_and_within_its_reserve(self) -> None:
        assert len(self.ledger) <= 1
        assert sum(charge for _, charge in self.ledger) <= self.claim.reserve

    @invariant()
    def only_the_last_worker_is_paid_and_as_it_signed(self) -> None:
        billed = [name for name, outcome in self.dispositions.items() if outcome == Outcome.BILLED]
        assert len(billed) == len(self.ledger)
        if self.ledger:
            (paid,) = self.ledger
            winner = self.claim.winner
            assert winner is not None
            assert paid[0] == winner.worker
            by_name = {statement_hash(signed).hex(): signed for signed in self.signed}
            document = by_name[billed[0]]
            assert (document.c, document.ticket) == (self.claim.c, winner.ticket)
            assert paid == (document.worker, int(document.charge_nano))

    @invariant()
    def losers_that_ended_are_superseded_or_invalid(self) -> None:
        winner = self.claim.winner
        for document in self.signed:
            outcome = self.dispositions.get(statement_hash(document).hex())
            if winner is not None and document.worker != winner.worker and outcome is not None:
                assert outcome in (Outcome.SUPERSEDED, Outcome.INVALID)


TestLyingWorkers = LyingWorkers.TestCase
TestLyingWorkers.settings = settings(max_examples=120, stateful_step_count=20)
