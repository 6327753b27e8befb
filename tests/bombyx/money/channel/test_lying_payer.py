"""A gateway that does not pay its worker, and one whose books are restored from an old copy.

The first takes at most the worker's limit; the second pays nothing twice, and forgets at most what
no voucher covered.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.errors import Unpaid
from bombyx.money.channel.payout import (
    Earnings,
    Owed,
    admit,
    adopted,
    close_seen,
    credit_limit,
    dispatched,
    disposed,
    ended,
    funded,
    funds_seen,
    journalled,
    paid,
    vouched,
)
from tests.bombyx.money.channel.parties import ceiling

UNSECURED = 50
OWNER_LIMIT = 200
amounts = st.integers(0, 60)


class Workplace(RuleBasedStateMachine):
    """One worker, the only one of its owner; `work` is what it signed for and was not forgiven."""

    def __init__(self) -> None:
        super().__init__()
        self.earnings = Earnings()
        self.work = 0
        self.in_chain = 0
        self.running: list[int] = []
        self.journal: list[int] = []

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.integers(0, 100))
    def ends(self, data: st.DataObject, share: int) -> None:
        worst = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        amount = worst * share // 100
        self.earnings = journalled(self.earnings, worst, amount=amount)
        self.journal.append(amount)
        self.work += amount

    def open(self, worst: int) -> bool:
        limit = credit_limit(self.earnings, owner_limit=OWNER_LIMIT, unsecured=UNSECURED)
        try:
            self.earnings = admit(self.earnings, worst, limit=limit)
        except Unpaid:
            return False
        self.running.append(worst)
        return True

    @rule()
    def the_owner_looks_at_the_chain(self) -> None:
        self.earnings = funds_seen(self.earnings, self.in_chain)


class LyingPayer(Workplace):
    """Says anything, vouches for anything, deposits and closes as it likes."""

    @rule(worst=amounts)
    def opens(self, worst: int) -> None:
        self.open(worst)

    @precondition(lambda self: self.journal)
    @rule(data=st.data(), is_owed=st.booleans())
    def disposes(self, data: st.DataObject, *, is_owed: bool) -> None:
        amount = self.journal.pop(data.draw(st.integers(0, len(self.journal) - 1)))
        self.earnings = disposed(self.earnings, amount, is_owed=is_owed)
        if not is_owed:
            self.work -= amount

    @rule(rise=st.integers(-5, 60))
    def vouches(self, rise: int) -> None:
        amount = max(self.earnings.best.amount + rise, 0)
        self.earnings = paid(self.earnings, ceiling(amount))

    @rule(amount=amounts)
    def deposits(self, amount: int) -> None:
        self.in_chain += amount

    @rule()
    def closes(self) -> None:
        self.earnings = close_seen(self.earnings)

    @invariant()
    def it_owes_the_limit_at_most(self) -> None:
        claimable = min(self.earnings.best.amount, self.in_chain)
        assert self.work - claimable <= self.earnings.unpaid
        assert self.earnings.unpaid + self.earnings.in_flight <= OWNER_LIMIT

    @invariant()
    def without_a_deposit_that_is_the_unsecured_credit(self) -> None:
        if not self.earnings.deposited:
            assert self.earnings.unpaid + self.earnings.in_flight <= UNSECURED

    @invariant()
    def what_the_worker_believes_adds_up(self) -> None:
        assert self.earnings.in_flight == sum(self.running)
        assert self.earnings.deposited <= self.in_chain


class HonestPayer(Workplace):
    """Bills what is disposed of, once, and vouches for it; its books may become old."""

    def __init__(self) -> None:
        super().__init__()
        self.owed = Owed()
        self.backup = self.owed
        self.forgotten = 0

    @rule(worst=amounts)
    def opens(self, worst: int) -> None:
        if self.open(worst):
            self.owed = dispatched(self.owed, worst)

    @precondition(lambda self: self.journal)
    @rule()
    def acknowledges(self) -> None:
        batch = [*self.journal]
        for amount in batch:
            self.owed = ended(dispatched(self.owed, amount), amount, billed=amount)
        self.owed = vouched(self.owed)
        self.journal.clear()
        for amount in batch:
            self.earnings = disposed(self.earnings, amount, is_owed=True)
        if self.owed.vouched:
            self.earnings = paid(self.earnings, ceiling(self.owed.vouched))

    @rule(amount=st.integers(0, 500))
    def deposits(self, amount: int) -> None:
        self.in_chain += amount
        self.owed = funded(self.owed, self.in_chain)

    @rule()
    def backs_up(self) -> None:
        self.backup = self.owed

    @rule()
    def is_restored_and_hears_hello(self) -> None:
        """In flight is rebuilt from the claims; what was billed from the worker's own voucher."""
        before = self.owed
        restored = replace(self.backup, in_flight=self.owed.in_flight)
        self.owed = adopted(funded(restored, self.in_chain), self.earnings.best)
        lost = before.billed - self.owed.billed
        assert 0 <= lost <= before.unpaid
        self.forgotten += lost

    @invariant()
    def nobody_is_paid_for_more_than_the_work(self) -> None:
        assert self.owed.vouched + self.forgotten <= self.work
        assert self.owed.vouched <= self.in_chain
        assert self.earnings.best.amount == self.owed.vouched

    @invariant()
    def both_agree_about_what_is_owed(self) -> None:
        assert self.owed.billed + sum(self.journal) + self.forgotten == self.work
        assert self.earnings.unpaid >= self.owed.unpaid + self.forgotten


TestLyingPayer = LyingPayer.TestCase
TestLyingPayer.settings = settings(max_examples=100, stateful_step_count=40)
TestHonestPayer = HonestPayer.TestCase
TestHonestPayer.settings = settings(max_examples=100, stateful_step_count=40)
