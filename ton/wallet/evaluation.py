"""What a wallet's own history says about what it was told to send. Pure.

A transaction with a batch's message is the proof that the batch was executed; what it sent, in its
order, is what left. A payment that the wallet could not make is missing there. Money that comes
back carries the first 256 bits of what it was sent with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pytoniq_core import Cell

from ton.chain.external import normal_hash
from ton.chain.port import Happened
from ton.codec.cells import Reader, raw
from ton.errors import MalformedCell
from ton.tvm.messages import Internal
from ton.wallet.outbox import Batch, Order, State
from ton.wallet.outgoing import Outgoing

BOUNCED: Final = 0xFFFFFFFF
"""How the body of a message that came back begins."""
_ECHO_BITS: Final = 256


@dataclass(frozen=True, slots=True)
class Bounce:
    """Money that came back from `account` (`workchain:hex`); `echo` is how the body began."""

    account: str
    echo: str


def executed(
    happened: Sequence[Happened], batches: Sequence[Batch]
) -> list[tuple[Happened, Batch]]:
    """Which batches the wallet executed, and in which transactions."""
    known = {batch.hash: batch for batch in batches}
    found = []
    for one in happened:
        message = one.transaction.in_message
        batch = known.get(normal_hash(message)) if message is not None else None
        if batch is not None:
            found.append((one, batch))
    return found


def strangers(
    happened: Sequence[Happened], known: Sequence[tuple[Happened, Batch]]
) -> list[Happened]:
    """Messages from outside that the wallet executed and this outbox did not sign."""
    ours = {one.point for one, _ in known}
    return [
        one
        for one in happened
        if one.transaction.in_message is not None
        and _internal(one.transaction.in_message) is None
        and one.point not in ours
    ]


def paid_elsewhere(strange: Sequence[Happened], orders: Sequence[Order]) -> list[Order]:
    """Orders that those messages paid already, as an outbox's older copy does not know."""
    left = list(orders)
    done = []
    for one in strange:
        for message in one.transaction.out_messages:
            order = next((order for order in left if _is(message, order.outgoing)), None)
            if order is not None:
                left.remove(order)
                done.append(_sent(order, message, one))
    return done


def _sent(order: Order, message: Cell, happened: Happened) -> Order:
    return replace(
        order,
        state=State.SENT,
        message=bytes(message.hash),
        transaction=happened.transaction.hash,
    )


def results(happened: Happened, orders: Sequence[Order]) -> list[Order]:
    """What became of a batch's orders: `SENT` where its message is among those that left."""
    left = list(happened.transaction.out_messages)
    done = []
    for order in orders:
        if left and _is(left[0], order.outgoing):
            done.append(_sent(order, left.pop(0), happened))
        else:
            done.append(replace(order, state=State.SKIPPED, transaction=happened.transaction.hash))
    return done


def _is(message: Cell, told: Outgoing) -> bool:
    try:
        sent = Internal.read(message)
    except MalformedCell:
        return False
    same = (sent.destination, sent.value, sent.bounce) == (told.to, told.value, told.bounce)
    return same and _echo(sent.body) == _echo(told.body) and _hash(sent.body) == _hash(told.body)


def _hash(body: Cell | None) -> bytes:
    return bytes((body if body is not None else Cell.empty()).hash)


def bounces(happened: Sequence[Happened]) -> list[Bounce]:
    """What came back, oldest first."""
    found = []
    for one in happened:
        message = _internal(one.transaction.in_message)
        if message is None or not message.bounced:
            continue
        try:
            rest = Reader(message.body or Cell.empty()).tag(BOUNCED).rest()
        except MalformedCell:
            continue  # of another form, which nothing that we send asks for
        found.append(Bounce(raw(message.source), _echo(rest)))
    return found


def _internal(message: Cell | None) -> Internal | None:
    try:
        return None if message is None else Internal.read(message)
    except MalformedCell:
        return None  # from outside


def came_back(bounce: Bounce, sent: Sequence[Order]) -> Order | None:
    """The order whose money this is; of equal ones the oldest."""
    for order in sent:
        if raw(order.outgoing.to) == bounce.account and _echo(order.outgoing.body) == bounce.echo:
            return order
    return None


def _echo(body: Cell | None) -> str:
    return "" if body is None else str(body.bits.to01()[:_ECHO_BITS])
