"""A random walk over channels in the real TVM: each transaction against model and invariants.

An episode is one channel from its opening to some replays after its end. The walk is a function of
its seed. Whatever is not as it must be raises `Violation`, with the rule's name.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from pytoniq_core import Cell

from tests.ton.channel import CLIENT, DAY, GATEWAY, GRAM, STRANGER, Channel, Delivery
from tests.ton.model import ANY_REFUSAL, Expected, Move, Payment, World, expect
from tests.ton.moves import PLENTY, Moves
from ton.codec.cells import Writer
from ton.codec.constants import CLOSED, OPEN, Gas, Op
from ton.codec.messages import Outgoing, parse_outgoing
from ton.codec.storage import ChannelState
from ton.tvm.accounts import Status
from ton.tvm.machine import Tvm
from ton.tvm.transactions import SKIPPED

STEPS = 40
AFTERWARDS = 4
YEARS = 365 * DAY
OUT_OF_GAS = -14
REFUSAL_GAS = 4500
"""The dearest refusal takes less."""
LAST_YEAR = 45
SMALL, NEGLECTED = GRAM // 25, 20 * YEARS
"""A deposit, and how long its channel stands before more than the reserve is gone."""
PERIODS = (0, 1800, 3600, 3601, DAY, 604_800, 604_801, 2**32 - 1)
GAS = {name: Gas[name.upper()] for name in (
    "top_up", "claim", "coop_close", "start_close", "finish_close", "gateway_close",
)}  # fmt: skip


class Violation(AssertionError):
    """A rule that the contract broke."""


def demand(rule: str, holds: object, **seen: object) -> None:
    if not holds:
        raise Violation(f"{rule}: {seen}")


@dataclass(slots=True)
class Purse:
    """What a party paid in and got out, in nano."""

    paid: int = 0
    got: int = 0


@dataclass(slots=True)
class Walk:
    """Episodes under one seed, until `limit` transactions are done."""

    tvm: Tvm
    code: Cell
    seed: int
    transactions: int = 0
    endings: Counter[tuple[str, int]] = field(default_factory=Counter)

    def run(self, limit: int) -> None:
        """Walk; raises `Violation`."""
        episode = 0
        while self.transactions < limit:
            Episode(self, Random(f"{self.seed}/{episode}"), limit).run()
            episode += 1


class Episode:
    """One channel, opened by its client."""

    def __init__(self, walk: Walk, rnd: Random, limit: int) -> None:
        self.walk, self.rnd, self.limit = walk, rnd, limit
        self.channel = Channel(
            walk.tvm, walk.code, period=rnd.choice(PERIODS), salt=rnd.getrandbits(64)
        )
        self.moves = Moves(rnd, self.channel)
        self.purses = {bytes(one.hash_part): Purse() for one in (CLIENT, GATEWAY, STRANGER)}
        self.fees = 0
        self.born = self.channel.now
        self.close_at = OPEN

    def run(self) -> None:
        """Random moves, then a forced end, then replays."""
        if self.rnd.random() < 0.1:
            self.neglect()
        else:
            self.step(self.moves.opening())
        demand("a funded top-up opens the channel", self.is_active)
        for _ in range(self.rnd.randrange(STEPS)):
            if self.over or self.channel.state.is_closed:
                break
            self.pass_time()
            self.draw()
        if not self.over:
            self.recover()
        for _ in range(AFTERWARDS):
            if not self.over:
                self.draw()
        self.settle_up()

    def neglect(self) -> None:
        """A channel so old that rent ate into the deposit, and a claim of all of it."""
        self.step(self.moves.opening(SMALL))
        self.channel.now += NEGLECTED
        self.step(self.moves.whole(self.channel.state))

    @property
    def over(self) -> bool:
        return self.walk.transactions >= self.limit

    @property
    def is_active(self) -> bool:
        return self.channel.account.status is Status.ACTIVE

    def draw(self) -> None:
        account = self.channel.account
        self.step(self.moves.draw(self.channel.state, account.balance))

    def pass_time(self) -> None:
        """Mostly minutes; up to the end of the challenge; now and then years."""
        rnd, channel = self.rnd, self.channel
        jump = rnd.choice((0, 1, rnd.randint(1, 900), rnd.randint(1, DAY)))
        if channel.state.close_at not in (OPEN, CLOSED) and rnd.random() < 0.3:
            jump = max(0, channel.state.close_at - channel.now - rnd.choice((0, 0, 1)))
        if rnd.random() < 0.03 and channel.now - self.born < (LAST_YEAR - 20) * YEARS:
            years = rnd.randint(YEARS, 20 * YEARS)
            account = channel.account
            rent = channel.prices.rent(years, bits=account.bits, cells=account.cells)
            # With nothing left to pay rent from, the chain takes it from messages, then freezes.
            jump = years if account.balance > 2 * rent else jump
        channel.now += jump

    def step(self, move: Move) -> Delivery:
        """Deliver one message and hold what happened against the model and every invariant."""
        fresh = self.channel.account.status is not Status.ACTIVE
        state = self.first_state() if fresh else self.channel.state
        done = self.channel.send(
            move.source, move.value, move.body, init=move.init, bounce=move.bounce
        )
        self.walk.transactions += 1
        self.walk.endings[move.name, done.exit_code] += 1
        self.count(done)
        self.conserve(done)
        world = World(
            state=state,
            own=done.before.balance - done.transaction.storage_fee,
            now=self.channel.now,
            prices=self.channel.prices,
            gas_fee=self.channel.prices.gas_fee(done.transaction.gas_used),
        )
        self.compare(move, done, expect(move, world), world)
        self.invariants(state, done)
        return done

    def first_state(self) -> ChannelState:
        return ChannelState(0, 0, OPEN, self.channel.config)

    def count(self, done: Delivery) -> None:
        self.purses[bytes(done.message.source.hash_part)].paid += done.message.value
        for sent in done.sent:
            purse = self.purses.get(bytes(sent.destination.hash_part))
            demand("money goes to parties and senders", purse is not None)
            assert purse is not None
            purse.got += sent.value
        self.fees += done.transaction.fees

    def conserve(self, done: Delivery) -> None:
        """I5: nothing appears, nothing is lost."""
        before = done.before.balance + done.message.value
        out = sum(sent.value for sent in done.sent)
        after = out + done.transaction.fees + done.after.balance
        demand("conservation (I5)", before == after, before=before, after=after)

    def compare(self, move: Move, done: Delivery, expected: Expected, world: World) -> None:
        code, name = done.exit_code, move.name
        if self.starved(move, done):
            return self.unchanged(done, world)
        if expected.code == ANY_REFUSAL:
            demand("refusal", code not in (0, SKIPPED), move=name, code=code)
            return self.unchanged(done, world)
        demand("exit code", code == expected.code, move=name, code=code, wanted=expected.code)
        if expected.code or expected.action_code:
            demand("actions", done.transaction.action_code == expected.action_code, move=name)
            return self.unchanged(done, world)
        demand("gas (I11)", name not in GAS or done.transaction.gas_used <= GAS[name], move=name)
        demand("state", self.channel.state == expected.state, move=name, state=self.channel.state)
        balance = done.after.balance
        demand("balance", balance == expected.balance, at=name, got=balance, to=expected.balance)
        paid = [Payment(one.destination, one.value, _body(one.body)) for one in done.sent]
        demand("payments", paid == list(expected.payments), paid=paid, of=expected.payments)
        return None

    def starved(self, move: Move, done: Delivery) -> bool:
        """Whether the value did not even pay for running to the refusal."""
        starved = done.exit_code in (OUT_OF_GAS, SKIPPED)
        little = move.value < self.channel.prices.gas_fee(REFUSAL_GAS)
        demand("gas is enough where the fees are paid", little or not starved, value=move.value)
        return starved

    def unchanged(self, done: Delivery, world: World) -> None:
        """I7: a refusal changes nothing and gives back what it did not burn."""
        if done.before.status is Status.ACTIVE:
            same = done.before.data is not None and done.before.data == done.after.data
            demand("a refusal changes no data (I7)", same)
        else:
            first = self.channel.first_state
            demand("a refusal deploys the first state at most", done.after.data in (None, first))
        enough = done.message.value - world.gas_fee >= 2 * world.prices.forward_fee()
        wanted = done.message.bounce and enough
        demand("what can bounce does (I7)", done.transaction.bounced or not wanted)
        if done.transaction.bounced:
            source = done.message.source
            demand("what bounces goes back (I7)", [s.destination for s in done.sent] == [source])
            demand("a bounce keeps nothing (I7)", done.after.balance == world.own)
        else:
            demand("a refusal sends nothing else (I7)", not done.sent)
            demand("a refusal takes nothing (I7)", done.after.balance >= min(world.own, 0))

    def invariants(self, before: ChannelState, done: Delivery) -> None:
        """I1, I2, I4, I6 and I9, said without the model."""
        if not self.is_active:
            return
        state = self.channel.state
        demand("claimed <= deposited (I1)", 0 <= state.claimed <= state.deposited)
        demand("totals only grow (I1)", state.deposited >= before.deposited)
        demand("totals only grow (I1)", state.claimed >= before.claimed)
        gateway = self.purses[bytes(GATEWAY.hash_part)]
        gain = gateway.got - gateway.paid
        demand("the gateway gets no more than was signed (I2)", gain <= self.moves.ceiling)
        rent = done.before.balance - done.transaction.storage_fee - before.held
        if rent >= 0 and not state.is_closed:
            demand("what is owed is there (I4)", done.after.balance >= state.held)
        if self.close_at not in (OPEN, state.close_at):
            demand("closeAt is set once (I9)", state.close_at == CLOSED)
        self.close_at = state.close_at
        demand("the configuration never changes (I6)", state.config == self.channel.config)

    def recover(self) -> None:
        """I3: the client alone gets back what it did not sign away, within the challenge."""
        channel = self.channel
        if channel.state.is_closed:
            return
        if channel.state.close_at == OPEN:
            self.step(self._own("start_close", Op.START_CLOSE))
        channel.now = max(channel.now, channel.state.close_at)
        held, claimed = channel.state.held, channel.state.claimed
        demand("the gateway has no more than was signed (I3)", claimed <= self.moves.ceiling)
        done = self.step(self._own("finish_close", Op.FINISH_CLOSE))
        back = sum(sent.value for sent in done.sent if sent.destination == CLIENT)
        spent = done.transaction.fees
        solvent = done.before.balance - done.transaction.storage_fee >= held
        whole = back + spent >= held + PLENTY
        demand("the client recovers its deposit (I3)", whole or not solvent, back=back, held=held)

    def _own(self, name: str, op: Op) -> Move:
        return Move(name, CLIENT, PLENTY, Writer().uint(op, 32).uint(1, 64).cell())

    def settle_up(self) -> None:
        """Over the whole life of a channel, too, the books add up."""
        paid = sum(purse.paid for purse in self.purses.values())
        got = sum(purse.got for purse in self.purses.values())
        left = self.channel.account.balance
        demand("conservation of an episode (I5)", paid == got + self.fees + left)


def _body(cell: Cell | None) -> Outgoing:
    return parse_outgoing(cell if cell is not None else Writer().cell())
