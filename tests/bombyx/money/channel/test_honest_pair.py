"""An honest client and an honest gateway over a bad network: vouchers, answers and refusals get
lost, requests overtake each other, the client crashes. Nobody is called a liar, nothing is billed
twice, and in the end both agree to the nano.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.errors import (
    DepositTooLow,
    PaymentRefused,
    PaymentRequired,
    UnprovenCharges,
)
from bombyx.money.channel.acceptance import (
    ChannelRow,
    close_asked,
    reserve,
    settle,
    sign_close_terms,
    top_up,
)
from bombyx.money.channel.closing import CloseTerms, check_client_terms, check_close_signature
from bombyx.money.channel.spending import (
    Caps,
    Purse,
    Saved,
    closing,
    lapse,
    overdue,
    prove,
    refused,
    spend,
    topped_up,
    voucher,
)
from bombyx.money.channel.terms import (
    Voucher,
    check_offered,
    check_refusal,
    decode_terms,
    encode_terms,
)
from tests.bombyx.money.channel.parties import (
    CHANNEL,
    CLIENT,
    GATEWAY,
    IDENTITY,
    NOW,
    PAYER,
    receipt,
    terms,
)
from tests.factories import seed

CAPS = Caps(max_inflight=600, max_daily=10**9, max_deposit=10**9, min_top_up=1)
DEADLINE_S = 1_500
FRESH_S = 300
LATER_S = 600
"""A request may be accepted for 300 s, by clocks that differ by as much: so long is added."""


class HonestPair(RuleBasedStateMachine):
    """One channel; each message arrives, arrives late, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.purse = Purse(deposited=3_000)
        self.row = ChannelRow(deposited=3_000)
        self.running: dict[bytes, tuple[int, int]] = {}
        self.refusals: dict[bytes, bytes] = {}
        self.charges: dict[bytes, int] = {}
        self.costs: dict[bytes, int] = {}
        self.waiting: list[tuple[bytes, Voucher | None]] = []
        self.issued: dict[bytes, int] = {}

    @rule(cost=st.integers(0, 200), fate=st.sampled_from(["arrives", "late", "lost"]))
    def ask(self, cost: int, fate: str) -> None:
        c = seed(f"c{len(self.costs)}")
        try:
            self.purse, must_send = spend(
                self.purse,
                CAPS,
                c=c,
                cost=cost,
                deadline=self.now + DEADLINE_S + LATER_S,
                now=self.now,
            )
        except PaymentRequired:
            return
        self.costs[c], self.issued[c] = cost, self.now
        sent = voucher(Saved(self.purse), CHANNEL, CLIENT) if must_send else None
        if fate == "late":
            self.waiting.append((c, sent))
        elif fate == "arrives":
            self.serve(c, sent)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_late_request_arrives(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.waiting) - 1))
        c, sent = self.waiting.pop(number)
        self.serve(c, sent)

    def serve(self, c: bytes, sent: Voucher | None) -> None:
        is_stale = self.now - self.issued[c] > FRESH_S
        if is_stale or c in self.running or c in self.charges:
            return
        offered = check_offered(sent, CHANNEL) if sent is not None else None
        try:
            self.row = reserve(self.row, self.costs[c], offered=offered)
        except PaymentRequired as error:
            self.refusals[c] = encode_terms(terms(self.row, self.costs[c], error.code))
            return
        self.refusals.pop(c, None)
        self.running[c] = (self.costs[c], self.now + DEADLINE_S)

    @precondition(lambda self: self.refusals)
    @rule(data=st.data(), is_lost=st.booleans())
    def a_refusal_arrives(self, data: st.DataObject, *, is_lost: bool) -> None:
        c = data.draw(st.sampled_from(sorted(self.refusals)))
        told = decode_terms(self.refusals.pop(c))
        if is_lost or c not in self.purse.inflight:
            return
        said = check_refusal(told, CHANNEL, cost=self.costs[c])
        try:
            self.purse = refused(self.purse, CAPS, said, c=c)
        except (PaymentRefused, UnprovenCharges, DepositTooLow):
            self.purse = lapse(self.purse, c)
            return
        self.serve(c, voucher(Saved(self.purse), CHANNEL, CLIENT))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.integers(0, 100), is_lost=st.booleans())
    def answer(self, data: st.DataObject, share: int, *, is_lost: bool) -> None:
        c = data.draw(st.sampled_from(sorted(self.running)))
        self.end(c, share)
        if not is_lost:
            self.show(c)

    def end(self, c: bytes, share: int) -> None:
        cost, _ = self.running.pop(c)
        self.charges[c] = cost * share // 100
        self.row = settle(self.row, cost, charge=self.charges[c])

    def show(self, c: bytes) -> None:
        """Each receipt reaches the client's books once."""
        if c in self.purse.inflight or c in self.purse.lapsed:
            document = receipt(c, self.charges[c])
            self.purse = prove(self.purse, document, payer=PAYER, gateway=IDENTITY, now=self.now)

    @rule(seconds=st.sampled_from([30, 900, 2_500]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for c in [c for c, (_, by) in self.running.items() if by <= self.now]:
            self.end(c, 0)
        for c in overdue(self.purse, now=self.now):
            assert c not in self.running
            self.purse = lapse(self.purse, c)

    @rule()
    def ask_for_lost_receipts(self) -> None:
        for c in [*self.purse.inflight, *self.purse.lapsed]:
            if c in self.charges:
                self.show(c)

    @rule(amount=st.integers(1, 500), gateway_first=st.booleans())
    def top_up(self, amount: int, *, gateway_first: bool) -> None:
        total = max(self.row.deposited, self.purse.deposited) + amount
        self.row = top_up(self.row, total)
        if not gateway_first:
            self.purse = topped_up(self.purse, total)

    @invariant()
    def the_gateway_is_covered_and_the_client_within_its_cap(self) -> None:
        assert self.row.ceiling.amount <= self.purse.signed_max
        assert self.purse.at_risk <= CAPS.max_inflight
        assert self.row.charged == sum(self.charges.values())

    @invariant()
    def the_clients_books_explain_every_charge(self) -> None:
        lapsed = sum(one.cost for one in self.purse.lapsed.values())
        assert self.row.charged <= self.purse.proven + self.purse.reserved + lapsed

    def teardown(self) -> None:
        for c in list(self.running):
            self.end(c, 50)
        self.ask_for_lost_receipts()
        self.now += 10 * DEADLINE_S
        for c in overdue(self.purse, now=self.now):
            self.purse = lapse(self.purse, c)
        self.purse = closing(self.purse)
        self.row = close_asked(self.row)
        agreed = CloseTerms(self.purse.proven, self.now + 600)
        check_client_terms(self.purse, agreed, now=self.now)
        self.row = sign_close_terms(
            self.row, agreed.amount, valid_until=agreed.valid_until, now=self.now
        )
        for signer in (CLIENT, GATEWAY):
            signature = signer.sign_close(CHANNEL, agreed)
            check_close_signature(CHANNEL, agreed, signature=signature, key=signer.public_key)


TestHonestPair = HonestPair.TestCase
TestHonestPair.settings = settings(max_examples=100, stateful_step_count=40)
