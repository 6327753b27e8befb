"""One worker behind several gateways: its slots are one, and each gateway hears what is taken."""

from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, unix, until
from tests.worker.sealing import chat, seal
from worker.engine.scripted import Scripted, ScriptedEngine


async def test_what_one_gateway_takes_the_other_sees_taken(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    other = GatewayPeer()
    await other.start()
    try:
        engine = ScriptedEngine(Scripted(slots=1))
        worker = await start_worker(
            engine=engine, gateway=(gateway.url, other.url), slots=1, max_waiting=1
        )
        here, there = await gateway.link(), await other.link()
        await until(lambda: len(worker.gateways) == 2)
        first = await here.ask(seal(here.listing, chat("pace: 50\ncount: 100"), now=unix()))
        await until(lambda: first.data)
        await until(lambda: there.statuses and there.statuses[-1].running == 1)
        assert there.statuses[-1].slots == 1
        waiting = await there.ask(seal(there.listing, chat("pace: 50\ncount: 100"), now=unix()))
        await until(lambda: here.statuses[-1].waiting == 1)
        third = await here.ask(seal(here.listing, chat("say: no room"), now=unix()))
        await third.over()
        assert third.refusal is not None
        assert third.refusal.refusal.code == "busy"
        await here.reset(first)
        await there.reset(waiting)
        await until(lambda: here.statuses[-1].running == 0 == there.statuses[-1].waiting)
    finally:
        await worker.close()
        await other.stop()
