"""A task that dies by a bug is logged and told, without its words."""

import asyncio

import structlog

from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, until
from worker.background import Background
from worker.engine.port import Load
from worker.engine.scripted import ScriptedEngine


async def test_a_task_that_dies_is_told_and_one_that_ends_is_not() -> None:
    told: dict[str, str] = {}
    background = Background(told.__setitem__)

    async def dies() -> None:
        raise KeyError("canary")

    async def ends() -> None:
        return

    async def lasts() -> None:
        await asyncio.sleep(60)

    with structlog.testing.capture_logs() as logs:
        tasks = [background.spawn(work()) for work in (dies, ends, lasts)]
        await asyncio.wait(tasks[:2])
        await background.close()
    assert tasks[2].cancelled()
    (line,) = logs
    assert (line["event"], line["kind"]) == ("task_died", "KeyError")
    assert line["task"].endswith("dies")
    ((name, sentence),) = told.items()
    assert name.endswith("dies")
    assert "KeyError" in sentence
    assert "canary" not in f"{logs}{told}"


class _Broken(ScriptedEngine):
    async def load(self) -> Load:
        raise ValueError("canary")


async def test_a_worker_whose_reports_end_says_so(
    gateway: GatewayPeer, start_worker: StartWorker
) -> None:
    with structlog.testing.capture_logs() as logs:
        worker = await start_worker(engine=_Broken())
        await until(worker.notices.document)
    (notice,) = worker.notices.document()
    assert "_report: ValueError" in notice["sentence"]
    assert [one["task"] for one in logs if one["event"] == "task_died"] == ["Worker._report"]
    assert "canary" not in f"{logs}{notice}"
