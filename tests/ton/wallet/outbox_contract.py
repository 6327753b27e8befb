"""What every outbox keeps, wherever it keeps it."""

import hashlib
from dataclasses import replace

from pytoniq_core import Address

from tests.ton.comments import comment
from ton.chain.port import BEGINNING, Point
from ton.codec.cells import Writer, raw
from ton.wallet.outbox import Batch, Outbox, State
from ton.wallet.outgoing import Outgoing

TO = Address((0, b"\x55" * 32))
BODY = comment("for you")
EVERYTHING = Outgoing(TO, 10**18, BODY, Writer().uint(6, 5).ref(BODY).ref(BODY).cell(), bounce=True)
LATER = Point(2**63 + 5, b"\x07" * 32)


def batch(seqno: int, *orders: str) -> Batch:
    hash_ = hashlib.sha256(repr((seqno, orders)).encode()).digest()
    return Batch(hash_, seqno, 2**32 - 1, orders, b"boc")


async def states(box: Outbox, *ids: str) -> list[State | None]:
    found = [await box.get(one) for one in ids]
    return [None if one is None else one.state for one in found]


class OutboxContract:
    """Subclasses have the fixture `box`."""

    async def test_an_order_is_read_as_it_was_put_and_put_once(self, box: Outbox) -> None:
        put = await box.put("one", EVERYTHING)
        assert (put.id, put.state, put.outgoing) == ("one", State.QUEUED, EVERYTHING)
        assert await box.put("one", Outgoing(TO, 1)) == put == await box.get("one")
        assert await box.get("two") is None

    async def test_orders_are_queued_in_their_order(self, box: Outbox) -> None:
        for name in "cab":
            await box.put(name, Outgoing(TO, 1))
        assert [one.id for one in await box.queued(2)] == ["c", "a"]

    async def test_a_batch_takes_its_orders_or_is_refused_whole(self, box: Outbox) -> None:
        for name in "abc":
            await box.put(name, Outgoing(TO, 1))
        assert await box.sign(batch(0, "a", "b"))
        assert not await box.sign(batch(0, "b", "c"))
        assert not await box.sign(batch(0, "c", "unknown"))
        assert await states(box, "a", "b", "c") == [State.SIGNED, State.SIGNED, State.QUEUED]
        assert await box.batches() == [batch(0, "a", "b")]

    async def test_an_expired_batch_stays_known_and_frees_its_orders(self, box: Outbox) -> None:
        await box.put("a", Outgoing(TO, 1))
        await box.sign(batch(0, "a"))
        await box.expire(batch(0, "a"))
        assert await states(box, "a") == [State.QUEUED]
        await box.put("b", Outgoing(TO, 1))
        assert await box.sign(batch(0, "a", "b"))
        assert [one.orders for one in await box.batches()] == [("a",), ("a", "b")]

    async def test_what_was_never_signed_is_withdrawn_and_may_come_again(self, box: Outbox) -> None:
        for name in "ab":
            await box.put(name, Outgoing(TO, 1))
        assert await box.withdraw("a")
        assert not await box.withdraw("a")
        assert await states(box, "a", "b") == [None, State.QUEUED]
        assert (await box.put("a", Outgoing(TO, 2))).outgoing.value == 2
        assert [one.id for one in await box.queued(9)] == ["b", "a"]

    async def test_what_a_kept_batch_holds_is_not_withdrawn(self, box: Outbox) -> None:
        await box.put("a", Outgoing(TO, 1))
        await box.sign(batch(0, "a"))
        assert not await box.withdraw("a")
        await box.expire(batch(0, "a"))
        assert not await box.withdraw("a")
        assert await states(box, "a") == [State.QUEUED]
        await box.advance(None, BEGINNING, seqno=1)
        assert await box.withdraw("a")

    async def test_results_are_written_and_the_rest_is_queued_again(self, box: Outbox) -> None:
        for name in "abc":
            await box.put(name, Outgoing(TO, 1))
        await box.sign(batch(0, "a", "b"))
        await box.sign(batch(1, "c"))
        order = await box.get("a")
        assert order is not None
        sent = replace(order, state=State.SENT, message=b"m" * 32, transaction=b"t" * 32)
        assert await box.read_until() is None
        assert await box.advance(None, BEGINNING, seqno=0)
        assert await box.advance(BEGINNING, LATER, seqno=1, results=[sent])
        assert await box.get("a") == sent
        assert await states(box, "b", "c") == [State.QUEUED, State.SIGNED]
        assert [one.seqno for one in await box.batches()] == [1]
        assert await box.sent_to(raw(TO)) == [sent]
        assert await box.read_until() == LATER

    async def test_who_is_late_writes_nothing(self, box: Outbox) -> None:
        await box.put("a", Outgoing(TO, 1))
        await box.sign(batch(0, "a"))
        assert await box.advance(None, BEGINNING, seqno=0)
        assert not await box.advance(None, LATER, seqno=9)
        assert not await box.advance(LATER, LATER, seqno=9)
        assert await box.read_until() == BEGINNING
        assert len(await box.batches()) == 1

    async def test_only_what_was_sent_comes_back(self, box: Outbox) -> None:
        for name in "ab":
            await box.put(name, Outgoing(TO, 1))
        order = await box.get("a")
        assert order is not None
        await box.advance(None, BEGINNING, seqno=0)
        sent = replace(order, state=State.SENT, message=b"m" * 32)
        await box.advance(BEGINNING, LATER, seqno=0, results=[sent], bounced={"a", "b"})
        assert await states(box, "a", "b") == [State.BOUNCED, State.QUEUED]
        assert await box.sent_to(raw(TO)) == []
