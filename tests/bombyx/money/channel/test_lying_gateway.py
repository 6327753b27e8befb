"""A lying gateway against an honest client: it takes its owner's cap at most, and never more than
was signed; nothing it says makes the client sign more, not even across crashes.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bombyx.errors import (
    BadReceipt,
    BombyxError,
    ChannelHalted,
    GatewayLied,
    PaymentRequired,
    UnprovenCharges,
)
from bombyx.money.channel.spending import (
    DAY_S,
    Caps,
    Purse,
    Saved,
    closing,
    forget,
    halted,
    lapse,
    never_ran,
    overdue,
    plan_top_up,
    prove,
    refused,
    spend,
    topped_up,
    voucher,
)
from bombyx.money.channel.terms import Claimed
from bombyx.money.statement import Status
from tests.bombyx.money.channel.parties import (
    CHANNEL,
    CLIENT,
    GATEWAY,
    IDENTITY,
    NOW,
    PAYER,
    receipt,
)
from tests.factories import seed

CAPS = Caps(max_inflight=500, max_daily=700, max_deposit=3_000, min_top_up=100)
amounts = st.integers(0, 700)


class LyingGateway(RuleBasedStateMachine):
    """One purse, its copy on disk, and all that ever left the client."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.purse = Purse(deposited=2_000)
        self.disk = Saved(self.purse)
        self.sent = [0]
        self.deposited = 2_000
        self.taken = 0
        self.costs: dict[bytes, int] = {}
        self.seen: set[bytes] = set()
        self.forgotten: set[bytes] = set()
        self.proofs: dict[bytes, int] = {}
        self.asked_by_day: dict[int, int] = {}

    def save(self, purse: Purse) -> None:
        self.purse = purse
        self.disk = Saved(purse)

    @rule(
        cost=st.integers(0, 200), ends=st.sampled_from(["arrives", "crash", "refused connection"])
    )
    def ask(self, cost: int, ends: str) -> None:
        c = seed(f"c{len(self.costs)}")
        try:
            after, must_send = spend(
                self.purse, CAPS, c=c, cost=cost, deadline=self.now + 1_500, now=self.now
            )
        except (PaymentRequired, ChannelHalted):
            return
        self.save(after)
        self.costs[c] = cost
        if ends == "refused connection":
            self.save(never_ran(after, c))
        if ends != "arrives":
            return
        self.seen.add(c)
        if must_send:
            self.send()

    @precondition(lambda self: not self.purse.alarm and set(self.purse.inflight) - self.seen)
    @rule(data=st.data(), is_connected=st.booleans())
    def ask_again(self, data: st.DataObject, *, is_connected: bool) -> None:
        """The same bytes once more, of what has never left."""
        c = data.draw(st.sampled_from(sorted(set(self.purse.inflight) - self.seen)))
        if is_connected:
            self.seen.add(c)
            self.send()
        else:
            self.save(never_ran(self.purse, c))

    def send(self) -> None:
        self.sent.append(int(voucher(self.disk, CHANNEL, CLIENT).amount))

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), charge=amounts, status=st.sampled_from(Status), payer=st.booleans())
    def show_receipt(
        self, data: st.DataObject, charge: int, status: Status, *, payer: bool
    ) -> None:
        c = data.draw(st.sampled_from(sorted(self.seen)))
        document = receipt(c, charge, status=status)
        who = PAYER if payer else seed("another").hex()
        try:
            after = prove(self.purse, document, payer=who, gateway=IDENTITY, now=self.now)
        except BadReceipt:
            return
        assert c not in self.proofs
        assert charge <= self.costs[c]
        self.proofs[c] = charge
        self.save(after)

    @precondition(lambda self: self.costs)
    @rule(
        data=st.data(),
        charged=st.integers(0, 300),
        reserved=amounts,
        deposited=st.sampled_from([0, 10**6]),
    )
    def say_402(self, data: st.DataObject, charged: int, reserved: int, deposited: int) -> None:
        c = data.draw(st.sampled_from(sorted(self.purse.inflight or self.costs)))
        said = Claimed(
            error="voucher_required",
            deposited=deposited,
            charged=charged,
            reserved=reserved,
            need=charged + reserved + self.costs[c],
            ceiling=data.draw(st.sampled_from(self.sent)),
        )
        before = self.purse
        try:
            after = refused(before, CAPS, said, c=c)
        except GatewayLied as lie:
            assert charged > before.proven + before.reserved
            self.save(halted(before, lie.code))
            return
        except UnprovenCharges:
            assert before.lapsed
            return
        except BombyxError:
            return
        assert not before.inflight[c].corrected
        assert after.inflight[c].corrected
        self.save(after)
        self.send()

    @precondition(lambda self: self.costs)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.save(lapse(self.purse, data.draw(st.sampled_from(sorted(self.costs)))))

    @rule(seconds=st.sampled_from([10, 2_000, DAY_S, 10 * DAY_S]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for c in overdue(self.purse, now=self.now):
            self.save(lapse(self.purse, c))
        before = set(self.purse.lapsed)
        self.save(forget(self.purse, now=self.now))
        self.forgotten |= before - set(self.purse.lapsed)

    @rule(cost=amounts, wanted=amounts)
    def pay_in(self, cost: int, wanted: int) -> None:
        known = frozenset({GATEWAY.public_key})
        try:
            after, amount = plan_top_up(
                self.purse,
                CAPS,
                cost=cost,
                wanted=wanted,
                to=CHANNEL.account,
                channel=CHANNEL,
                gateways=known,
            )
        except (PaymentRequired, ChannelHalted):
            return
        self.save(after)
        self.deposited += amount

    @rule()
    def look_at_chain(self) -> None:
        self.save(topped_up(self.purse, self.deposited))

    @rule()
    def crash(self) -> None:
        self.purse = self.disk

    @rule()
    def take_all(self) -> None:
        """The gateway claims its highest voucher, served or not."""
        self.taken = min(max(self.sent), self.deposited)

    @precondition(lambda self: len(self.costs) > 15)
    @rule()
    def close(self) -> None:
        self.save(closing(self.purse))

    @invariant()
    def the_gateway_takes_at_most_the_cap_beyond_its_receipts(self) -> None:
        served = sum(self.proofs.values())
        assert self.taken - served <= self.purse.at_risk <= CAPS.max_inflight

    @invariant()
    def what_left_was_on_disk_before(self) -> None:
        assert max(self.sent) <= self.disk.signed_max
        assert self.disk.signed_max <= self.purse.deposited <= self.deposited

    @invariant()
    def each_receipt_counts_once(self) -> None:
        assert self.purse.proven == sum(self.proofs.values())
        assert not set(self.purse.inflight) & set(self.proofs)
        assert not set(self.purse.inflight) & set(self.purse.lapsed)

    @invariant()
    def what_the_gateway_saw_is_never_dropped(self) -> None:
        """Until it is proven, or was forgotten long after its deadline."""
        kept = {*self.purse.inflight, *self.purse.lapsed, *self.proofs, *self.forgotten}
        assert self.seen <= kept

    @invariant()
    def caps_hold(self) -> None:
        assert self.purse.spent_today <= CAPS.max_daily
        assert self.purse.reserved <= CAPS.max_inflight
        locked = self.purse.deposited + self.purse.topping_up - self.purse.proven
        assert locked <= CAPS.max_deposit
        assert self.purse.deposited + self.purse.topping_up == self.deposited

    @invariant()
    def a_client_that_closes_gets_back_all_but_what_it_signed(self) -> None:
        assert self.deposited - self.taken >= self.deposited - self.purse.signed_max

    @invariant()
    def a_halted_channel_signs_nothing(self) -> None:
        if self.purse.alarm:
            try:
                voucher(Saved(replace(self.purse)), CHANNEL, CLIENT)
            except ChannelHalted:
                return
            raise AssertionError("a halted channel signed")


TestLyingGateway = LyingGateway.TestCase
TestLyingGateway.settings = settings(max_examples=120, stateful_step_count=40)
