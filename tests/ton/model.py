"""What the contract must do with each message, said a second time and in another language.

`expect` gives the exit code, the state, the balance and every payment, to the nano; the walk holds
the TVM to it. The order of the checks is part of what is expected.
"""

from dataclasses import dataclass, replace

from pytoniq_core import Address, Cell

from tests.ton.channel import CLIENT, GATEWAY
from ton.codec.constants import CLOSED, MIN_TOP_UP, OPEN, RENT_RESERVE, Err, Gas
from ton.codec.messages import ChannelClosed, CloseStarted, Excesses, Outgoing, Payout
from ton.codec.storage import ChannelState
from ton.tvm.network import Prices

OK = 0
ANY_REFUSAL = -1
"""Some refusal, whichever: what a torn or bent cell meets first is not worth predicting."""
NO_FUNDS = 37
"""The action phase's code for a message that the balance does not cover."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A voucher or terms as somebody presents them; `fault` is why the contract must refuse."""

    cell: Cell
    signature: bytes
    amount: int
    fault: int = OK
    other_signature: bytes = b""
    other_fault: int = OK


@dataclass(frozen=True, slots=True)
class Move:
    """A message to the channel, with what its body means."""

    name: str
    source: Address
    value: int
    body: Cell | None
    amount: int = 0
    signed: Signed | None = None
    bounce: bool = True
    init: Cell | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """One outgoing message."""

    to: Address
    value: int
    body: Outgoing


@dataclass(frozen=True, slots=True)
class Expected:
    """How a message must end. Where `code` is a refusal nothing else changes."""

    code: int
    state: ChannelState
    balance: int = 0
    payments: tuple[Payment, ...] = ()
    action_code: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What the contract sees beside the message. `own` is the balance without the message's value
    and with the rent paid; `gas_fee` what this run cost."""

    state: ChannelState
    own: int
    now: int
    prices: Prices
    gas_fee: int

    def fee(self, gas: Gas) -> int:
        return self.prices.gas_fee(gas) + self.prices.forward_fee()

    @property
    def rent(self) -> int:
        return max(0, self.state.deposited - self.state.claimed + RENT_RESERVE - self.own)


QUERY = 1


def expect(move: Move, world: World) -> Expected:
    """The one right ending."""
    if world.state.is_closed:
        return _tombstone(move, world)
    rule = _RULES.get(move.name)
    return rule(move, world) if rule else Expected(Err.UNKNOWN, world.state)


def _tombstone(move: Move, world: World) -> Expected:
    if move.bounce:
        return Expected(Err.CLOSED, world.state)
    change = move.value - world.gas_fee
    sent = change - world.prices.forward_fee()
    if sent < 0:
        return Expected(OK, world.state, world.own + change)
    payment = Payment(move.source, sent, Excesses(0))
    return Expected(OK, world.state, world.own, (payment,))


def _top_up(move: Move, world: World) -> Expected:
    state, value = world.state, move.value
    if state.close_at != OPEN:
        return Expected(Err.STATE, state)
    if move.amount < MIN_TOP_UP:
        return Expected(Err.DEPOSIT, state)
    kept = move.amount + world.rent
    if value < kept + world.fee(Gas.TOP_UP):
        return Expected(Err.VALUE, state)
    change = value - kept - world.gas_fee - world.prices.forward_fee()
    return Expected(
        OK,
        replace(state, deposited=state.deposited + move.amount),
        world.own + kept,
        (Payment(move.source, change, Excesses(QUERY)),),
    )


def _voucher_refusal(move: Move, world: World, gas: Gas) -> int:
    assert move.signed is not None
    if move.source != GATEWAY:
        return Err.SENDER
    if move.value < world.fee(gas):
        return Err.VALUE
    if move.signed.fault in (Err.DOMAIN, Err.EXPIRED, ANY_REFUSAL):
        return move.signed.fault
    if move.amount > move.signed.amount:
        return Err.CEILING
    return move.signed.fault


def _claim(move: Move, world: World) -> Expected:
    state = world.state
    if refusal := _voucher_refusal(move, world, Gas.CLAIM):
        return Expected(refusal, state)
    total = min(move.amount, state.deposited)
    if total <= state.claimed:
        return Expected(Err.STALE, state)
    delta = total - state.claimed
    if delta > world.own:
        return Expected(OK, state, action_code=NO_FUNDS)
    change = move.value - world.gas_fee - world.prices.forward_fee()
    payment = Payment(GATEWAY, delta + change, Payout(QUERY, total))
    return Expected(OK, replace(state, claimed=total), world.own - delta, (payment,))


def _gateway_close(move: Move, world: World) -> Expected:
    if refusal := _voucher_refusal(move, world, Gas.GATEWAY_CLOSE):
        return Expected(refusal, world.state)
    total = min(move.amount, world.state.deposited)
    if total < world.state.claimed:
        return Expected(Err.STALE, world.state)
    return _close(move, world, total)


def _coop_close(move: Move, world: World) -> Expected:
    state, terms = world.state, move.signed
    assert terms is not None
    if terms.fault in (Err.DOMAIN, Err.EXPIRED, ANY_REFUSAL):
        return Expected(terms.fault, state)
    if move.value < world.fee(Gas.COOP_CLOSE):
        return Expected(Err.VALUE, state)
    if terms.amount < state.claimed:
        return Expected(Err.STALE, state)
    if terms.amount > state.deposited:
        return Expected(Err.DEPOSIT, state)
    if refusal := terms.fault or terms.other_fault:
        return Expected(refusal, state)
    return _close(move, world, terms.amount)


def _start_close(move: Move, world: World) -> Expected:
    state, postage = world.state, world.prices.forward_fee()
    if move.source != CLIENT:
        return Expected(Err.SENDER, state)
    if state.close_at != OPEN:
        return Expected(Err.STATE, state)
    if move.value < world.fee(Gas.START_CLOSE) + postage:
        return Expected(Err.VALUE, state)
    close_at = world.now + state.config.challenge_seconds
    change = move.value - world.gas_fee - 2 * postage
    payments = (
        Payment(GATEWAY, 0, CloseStarted(QUERY, close_at, state.claimed)),
        Payment(move.source, change, Excesses(QUERY)),
    )
    return Expected(OK, replace(state, close_at=close_at), world.own, payments)


def _finish_close(move: Move, world: World) -> Expected:
    state = world.state
    if state.close_at == OPEN:
        return Expected(Err.STATE, state)
    if world.now < state.close_at:
        return Expected(Err.EARLY, state)
    if move.value < world.fee(Gas.FINISH_CLOSE):
        return Expected(Err.VALUE, state)
    return _close(move, world, state.claimed)


def _close(move: Move, world: World, final: int) -> Expected:
    state, postage = world.state, world.prices.forward_fee()
    to_gateway = final - state.claimed
    left = world.own - to_gateway
    if left < 0:
        return Expected(ANY_REFUSAL, state)
    refunded = min(max(state.deposited - final, left - RENT_RESERVE), left)
    change, kept = move.value - world.gas_fee, left - refunded
    payments = []
    for to, amount, body in (
        (GATEWAY, to_gateway, Payout(QUERY, final)),
        (CLIENT, refunded, ChannelClosed(QUERY, final, refunded)),
    ):
        if to == move.source:
            payments.append(Payment(to, amount + change - postage, body))
        elif amount >= postage:
            payments.append(Payment(to, amount - postage, body))
        else:
            kept += amount
    if move.source not in (GATEWAY, CLIENT):
        payments.append(Payment(move.source, change - postage, Excesses(QUERY)))
    closed = replace(state, claimed=final, close_at=CLOSED)
    return Expected(OK, closed, kept, tuple(payments))


_RULES = {
    "top_up": _top_up,
    "claim": _claim,
    "gateway_close": _gateway_close,
    "coop_close": _coop_close,
    "start_close": _start_close,
    "finish_close": _finish_close,
}
