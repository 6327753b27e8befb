"""Time limits: they ring about when they are due, and never once cleared."""

import asyncio
import gc
import weakref

from gateway.inference.alarms import TICK_SECONDS, Alarms


async def test_an_alarm_rings_once_at_most_two_ticks_late() -> None:
    loop, rung = asyncio.get_running_loop(), asyncio.Event()
    times: list[float] = []

    def ring() -> None:
        times.append(loop.time())
        rung.set()

    start = loop.time()
    Alarms().after(0.06, ring)
    await asyncio.wait_for(rung.wait(), 2)
    await asyncio.sleep(2 * TICK_SECONDS)
    assert len(times) == 1
    assert times[0] - start >= 0.06


async def test_a_cleared_alarm_never_rings() -> None:
    alarms, rung = Alarms(), list[str]()
    alarms.after(0.01, lambda: rung.append("cleared")).clear()
    alarms.after(0.01, lambda: rung.append("kept"))
    await asyncio.sleep(3 * TICK_SECONDS)
    assert rung == ["kept"]


async def test_alarms_ring_after_a_pause_without_any() -> None:
    alarms, rung = Alarms(), list[int]()
    for number in range(2):
        alarms.after(0.01, lambda number=number: rung.append(number))  # type: ignore[misc]
        await asyncio.sleep(3 * TICK_SECONDS)
    assert rung == [0, 1]


async def test_one_that_fails_does_not_keep_the_others_from_ringing() -> None:
    alarms, rung, failures = Alarms(), list[int](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, c: failures.append(c["exception"]))
    for number in range(3):
        alarms.after(0.01, lambda number=number: rung.append(1 // number))  # type: ignore[misc]
    await asyncio.sleep(3 * TICK_SECONDS)
    assert sorted(rung) == [0, 1]
    assert len(failures) == 1


async def test_a_cleared_alarm_leaves_no_cycle() -> None:
    class Owner:
        def __init__(self, alarms: Alarms) -> None:
            self.alarm = alarms.after(60, self.ring)

        def ring(self) -> None:
            raise AssertionError

    gc.disable()
    try:
        owner = Owner(Alarms())
        owner.alarm.clear()
        seen = weakref.ref(owner)
        del owner
        assert seen() is None
    finally:
        gc.enable()
