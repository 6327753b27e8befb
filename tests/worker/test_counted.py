"""Whatever comes of a request is counted by hour and model, for the owner alone."""

from bombyx.control.document import Counts
from tests.worker.asking import ask
from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, unix, until
from tests.worker.sealing import GATEWAY, chat, seal
from worker.app import Worker
from worker.clock import now_ms
from worker.engine.scripted import Scripted, ScriptedEngine


def by_model(worker: Worker) -> dict[str, Counts]:
    return {one.model: one for one in worker._parts.journal.hours.by_day()}


async def test_answers_failures_and_refusals_are_counted_apart(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    engine = ScriptedEngine(Scripted(slots=1))
    worker = await start_worker(engine=engine, slots=1, max_waiting=0)
    link = await gateway.link()
    _, opened = await ask(link, chat("say: one two three"))
    await ask(link, chat("fault: error"))
    running = await link.ask(seal(link.listing, chat("pace: 50\ncount: 100"), now=unix()))
    await until(lambda: running.data)
    full = await (await link.ask(seal(link.listing, chat("say: no room"), now=unix()))).over()
    assert full.refusal is not None
    late = seal(link.listing, chat("say: late"), now=unix() - 1000)
    await (await link.ask(late)).over()
    await link.reset(running)
    await until(lambda: not worker.running)
    told = by_model(worker)["scripted"]
    # The one that was reset is signed as aborted, and paid for.
    assert told.requests == 2
    assert int(told.earned_nano) == worker._parts.journal.unpaid(GATEWAY.public_hex)
    assert int(told.earned_nano) >= int(opened.final.amount_nano)
    assert (told.refused["busy"], told.refused["engine_failed"]) == (1, 1)
    assert sum(told.refused.values()) == 3
    assert told.busy_ms > 0
    assert told.start <= now_ms() // 1000 < told.start + 86_400


async def test_a_model_that_is_not_the_workers_makes_no_line_of_its_own(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    link = await gateway.link()
    stranger = seal(link.listing, chat("say: a"), now=unix(), model="somebody-elses")
    stream = await (await link.ask(stranger)).over()
    assert stream.refusal is not None
    assert list(by_model(worker)) == [""]
