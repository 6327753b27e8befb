"""A lying client against an honest gateway: whatever it signs and whenever it closes, the gateway
is paid what it charged, to the nano, and claims no more; an old copy of its books is noticed.
"""

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.errors import (
    ChannelClosing,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
    PaymentRequired,
    VoucherForged,
)
from bombyx.money.channel.acceptance import (
    ChannelRow,
    claimed,
    close_asked,
    close_started,
    closed,
    reopened,
    reserve,
    rolled_back,
    settle,
    sign_close_terms,
    top_up,
)
from bombyx.money.channel.closing import MARGIN_S, claim_by, claim_due
from bombyx.money.channel.terms import check_offered
from tests.bombyx.money.channel.parties import CHANNEL, CLIENT, NOW, STRANGER, document

PERIOD = 3_600
COST = 1
DEADLINE_S = 1_000
"""A request settles within so long; the period is more than twice that."""
amounts = st.integers(0, 400)


@dataclass(frozen=True)
class Chain:
    """The contract's money, as `PaymentChannel` moves it."""

    deposited: int = 0
    claimed: int = 0
    close_at: int = 0
    refunded: int | None = None

    def claim(self, amount: int, voucher: int) -> "Chain":
        assert self.refunded is None
        assert self.claimed < amount <= voucher
        assert amount <= self.deposited
        return replace(self, claimed=amount)

    def finish(self) -> "Chain":
        return replace(self, refunded=self.deposited - self.claimed)


@dataclass(frozen=True)
class Request:
    cost: int
    charge: int
    by: int


class LyingClient(RuleBasedStateMachine):
    """One channel; the gateway looks at the chain after each step, as its watcher does."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.chain = Chain(deposited=1_000)
        self.row = ChannelRow(deposited=1_000)
        self.running: dict[int, Request] = {}
        self.served: dict[int, int] = {}
        self.backups = [(self.row, self.running)]
        self.restored = False
        self.terms: tuple[int, int] | None = None

    @property
    def is_over(self) -> bool:
        return self.chain.refunded is not None

    @rule(amount=amounts)
    def deposit(self, amount: int) -> None:
        if self.chain.close_at == 0 and not self.is_over:
            self.chain = replace(self.chain, deposited=self.chain.deposited + amount)

    @rule(
        cost=amounts,
        share=st.integers(0, 100),
        ceiling=st.none() | st.integers(0, 2_000),
        signer=st.sampled_from([CLIENT, CLIENT, CLIENT, STRANGER]),
    )
    def ask(self, cost: int, share: int, *, ceiling: int | None, signer: object) -> None:
        offered = None
        if ceiling is not None:
            try:
                signed = document(ceiling, signer=CLIENT if signer is CLIENT else STRANGER)
                offered = check_offered(signed, CHANNEL)
            except VoucherForged:
                assert signer is STRANGER
                return
        try:
            self.row = reserve(self.row, cost, offered=offered)
        except (PaymentRequired, ChannelRolledBack):
            return
        assert not self.chain.close_at
        assert not self.is_over
        assert self.terms is None or self.terms[1] < self.now
        number = len(self.served)
        self.served[number] = cost * share // 100
        request = Request(cost, self.served[number], self.now + DEADLINE_S)
        self.running = {**self.running, number: request}

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def answer_ends(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.running))))

    def end(self, number: int) -> None:
        self.backups.append((self.row, self.running))
        request = self.running[number]
        self.row = settle(self.row, request.cost, charge=request.charge)
        self.running = {key: one for key, one in self.running.items() if key != number}

    @rule(seconds=st.sampled_from([1, 300, 900]))
    def time_passes(self, seconds: int) -> None:
        for _ in range(seconds // 300 + 1):
            self.now += min(seconds, 300)
            self.watch()

    def watch(self) -> None:
        """What a gateway that runs does by itself."""
        for number in [key for key, one in self.running.items() if one.by <= self.now]:
            self.end(number)
        self.look()
        if not self.row.halted and not self.is_over:
            due = claim_due(self.row, cost=COST, period=PERIOD, now=self.now)
            if due is not None:
                self.chain = self.chain.claim(due, self.row.ceiling.amount)
                self.look()

    def look(self) -> None:
        """Read the chain into the books."""
        self.row = top_up(self.row, self.chain.deposited)
        if self.chain.close_at:
            self.row = close_started(self.row, self.chain.close_at)
        if self.is_over:
            self.row = closed(self.row)
        try:
            self.row = claimed(self.row, self.chain.claimed)
        except ChannelRolledBack:
            assert self.restored
            self.row = rolled_back(self.row, self.chain.claimed)

    @precondition(lambda self: not self.chain.close_at and not self.is_over)
    @rule()
    def start_close(self) -> None:
        self.chain = replace(self.chain, close_at=self.now + PERIOD)

    @precondition(lambda self: 0 < self.chain.close_at <= self.now and not self.is_over)
    @rule()
    def finish_close(self) -> None:
        self.chain = self.chain.finish()
        self.look()

    @precondition(lambda self: not self.row.closed)
    @rule()
    def ask_for_an_end(self) -> None:
        self.row = close_asked(self.row)
        try:
            until = self.now + 600
            self.row = sign_close_terms(self.row, self.row.charged, valid_until=until, now=self.now)
        except (CloseInFlight, CloseNotAsked, ChannelRolledBack):
            return
        assert not sum(request.cost for request in self.running.values())
        self.terms = (self.row.charged, until)

    @precondition(lambda self: self.terms is not None and not self.is_over)
    @rule()
    def close_together(self) -> None:
        assert self.terms is not None
        amount, until = self.terms
        if self.now < until and amount >= self.chain.claimed:
            self.chain = replace(self.chain, claimed=amount).finish()
            self.look()

    @precondition(lambda self: self.row.closing and not self.is_over)
    @rule()
    def serve_again(self) -> None:
        try:
            self.row = reopened(self.row, now=self.now)
        except ChannelClosing:
            return
        assert self.terms is None or self.terms[1] < self.now

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """The database comes back as it was before some answer."""
        self.restored = True
        self.row, self.running = data.draw(st.sampled_from(self.backups))
        self.terms = None

    @invariant()
    def each_request_is_billed_once_and_only_that_is_claimed(self) -> None:
        ended = sum(charge for key, charge in self.served.items() if key not in self.running)
        if self.restored:
            assert self.row.charged <= ended
        else:
            assert self.row.charged == ended
        assert self.chain.claimed <= sum(self.served.values())
        assert self.row.reserved == sum(one.cost for one in self.running.values())

    @invariant()
    def what_was_charged_can_be_claimed(self) -> None:
        assert self.row.charged + self.row.reserved <= self.row.ceiling.amount
        assert self.row.charged + self.row.reserved <= self.chain.deposited

    @invariant()
    def nothing_is_made_or_lost(self) -> None:
        left = self.chain.refunded or 0
        assert 0 <= self.chain.claimed <= self.chain.deposited
        assert not self.is_over or self.chain.claimed + left == self.chain.deposited

    @invariant()
    def a_gateway_that_watches_loses_no_more_than_a_claim_costs(self) -> None:
        if self.is_over and not self.restored:
            assert self.row.charged - self.chain.claimed <= COST

    @invariant()
    def books_that_are_older_than_the_chain_do_not_stay_in_use(self) -> None:
        self.look()
        assert self.row.halted or self.row.charged >= self.chain.claimed


def test_the_last_claim_leaves_time_for_what_ran_when_the_close_began() -> None:
    assert claim_by(NOW + PERIOD, PERIOD) - NOW > DEADLINE_S
    assert PERIOD // 3 >= MARGIN_S


TestLyingClient = LyingClient.TestCase
TestLyingClient.settings = settings(max_examples=120, stateful_step_count=40)
