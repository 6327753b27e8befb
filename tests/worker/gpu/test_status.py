"""The owner's numbers: a file for the owner alone, whole at any time, no reason to stop."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
import structlog

from tests.worker.gpu.contract import MemoryProbe
from tests.worker.gpu.library import ROOT, environment
from worker.gpu import status
from worker.gpu.port import Gpu
from worker.gpu.status import STATUS_FILE, gpu_status, keep_status, write_status

RUN = """
import asyncio, pathlib, sys
from worker.gpu.status import STATUS_FILE, gpu_status
async def main(folder):
    async with gpu_status(folder, "1"):
        while not (folder / STATUS_FILE).exists():
            await asyncio.sleep(0.01)
asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def _logs_as_before() -> object:
    yield
    structlog.reset_defaults()


def test_the_file_holds_what_is_known_and_is_the_owners_alone(tmp_path: Path) -> None:
    probe = MemoryProbe(gpus=[Gpu(0, utilisation=7), Gpu(1)])
    write_status(tmp_path, probe, (0,), at=1000)
    file = tmp_path / STATUS_FILE
    told = json.loads(file.read_text())
    assert told["gpus"] == [{"index": 0, "utilisation": 7, "xids": 0}]
    assert (told["at"], told["driver"]) == (1000, "590.12")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_FILE]


async def test_a_driver_that_goes_leaves_the_last_numbers_and_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "REFRESH_SECONDS", 0.01)
    probe = MemoryProbe()
    times = iter(range(1, 10_000))
    keeper = asyncio.create_task(keep_status(tmp_path, probe, None, clock=lambda: next(times)))
    while not (tmp_path / STATUS_FILE).exists():
        await asyncio.sleep(0.01)
    probe.is_broken = True
    await asyncio.sleep(0.05)
    last = json.loads((tmp_path / STATUS_FILE).read_text())["at"]
    await asyncio.sleep(0.05)
    assert json.loads((tmp_path / STATUS_FILE).read_text())["at"] == last
    probe.is_broken = False
    async with asyncio.timeout(5):
        while json.loads((tmp_path / STATUS_FILE).read_text())["at"] == last:
            await asyncio.sleep(0.01)
    assert not keeper.done()
    keeper.cancel()


@pytest.mark.parametrize("gpus", ["", "0"])
async def test_without_a_driver_there_is_no_file_and_no_trouble(tmp_path: Path, gpus: str) -> None:
    async with gpu_status(tmp_path, gpus):
        pass
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else runs


async def test_a_worker_beside_a_driver_keeps_its_groups_numbers(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, str(tmp_path)), env=environment(gpus=2), cwd=ROOT
    )
    assert await asyncio.wait_for(process.wait(), 20) == 0
    told = json.loads((tmp_path / STATUS_FILE).read_text())
    assert [gpu["uuid"] for gpu in told["gpus"]] == ["GPU-FAKE-1"]
