"""SPEC 1.5: at once when idle, within 5 ms under load, settled every 250 ms or 64 leaves."""

import asyncio

import pytest

from bombyx.link.documents import Settle
from tests.worker.ledger.samples import make_scribe, matter, point
from worker.ledger.press import FLUSH_SECONDS, SLOW_SETTLE_SECONDS, Press


async def test_an_idle_press_signs_within_one_turn_of_the_loop() -> None:
    press = Press(make_scribe(), lambda _: None)
    receipt = press.sign(matter(), point())
    await asyncio.sleep(0)
    assert receipt.done()
    press.close()


async def test_statements_of_one_turn_share_a_signature() -> None:
    press = Press(make_scribe(), lambda _: None)
    receipts = await asyncio.gather(*(press.sign(matter(number), point()) for number in range(10)))
    assert {receipt.batch.count for receipt in receipts} == {10}
    press.close()


async def test_a_busy_press_signs_5_ms_after_the_batch_before() -> None:
    press = Press(make_scribe(), lambda _: None)
    loop = asyncio.get_running_loop()
    await press.sign(matter(0), point())
    began = loop.time()
    later = [press.sign(matter(number), point()) for number in (1, 2)]
    await asyncio.sleep(0)
    assert not later[0].done()
    receipts = await asyncio.gather(*later)
    assert loop.time() - began < FLUSH_SECONDS + 0.05
    assert [receipt.batch.count for receipt in receipts] == [2, 2]
    press.close()


@pytest.mark.spec("1.5-b")
async def test_more_than_64_in_one_turn_are_signed_in_batches() -> None:
    settles: list[Settle] = []
    press = Press(make_scribe(), settles.append)
    receipts = await asyncio.gather(*(press.sign(matter(number), point()) for number in range(70)))
    assert [receipt.batch.count for receipt in receipts] == [64] * 64 + [6] * 6
    assert [len(one.leaves) for one in settles] == [64]
    press.close()
    assert [len(one.leaves) for one in settles] == [64, 6]


async def test_a_receipt_nobody_waits_for_any_more_disturbs_nobody() -> None:
    press = Press(make_scribe(), lambda _: None)
    gone, kept = press.sign(matter(0), point()), press.sign(matter(1), point())
    gone.cancel()
    assert (await kept).statement.n == 1
    press.close()


async def test_a_lone_statement_is_settled_within_a_second() -> None:
    settles: list[Settle] = []
    press = Press(make_scribe(), settles.append)
    press._settle_seconds = 0.01
    await press.sign(matter(), point())
    await asyncio.sleep(0.03)
    assert [len(one.leaves) for one in settles] == [1]
    assert press._settle_seconds == SLOW_SETTLE_SECONDS
    press.close()
