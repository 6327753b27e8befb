"""Workers with a state folder and a control socket, and `bombyx owner` beside them."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bombyx.attestation.simulated import image_measurement
from tests.network.harness import Network
from worker.app import Parts, Worker
from worker.attest.simulated import SimulatedQuoter
from worker.clock import Clock, now_ms
from worker.control.orders import Orders
from worker.control.server import control_socket
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.ledger.journal import Journal
from worker.residents import Residents
from worker.settings import WorkerSettings

BOMBYX = (sys.executable, "-c", "from bombyx.cli.main import run; run()")


@contextlib.asynccontextmanager
async def owned(
    net: Network,
    folder: Path,
    *,
    clock: Clock = now_ms,
    image: bytes | None = None,
    **settings: Any,
) -> AsyncIterator[Worker]:
    """A worker of this network, whether or not the gateway wants it."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nothing else runs
    engine = ScriptedEngine(Scripted(slots=4))
    quoter = SimulatedQuoter(
        net.root,
        image=image or image_measurement(version("bombyx")),
        clock=lambda: clock() // 1000,
    )
    journal = await Journal.open(folder / "worker-journal.db")
    given = {"gateway": (net.url,), "wallet": "local:owner", "grace_seconds": 1, **settings}
    chosen = WorkerSettings(**given)
    parts = Parts(engine, engine.models(), quoter, journal, clock)
    worker = await Worker.create(chosen, parts)
    residents = Residents(chosen, folder, say=lambda _: None)
    orders = Orders(worker, residents, journal, settings=chosen, clock=clock)
    worker.start()
    try:
        async with control_socket(folder, orders.obey):
            yield worker
    finally:
        await worker.close()
        await journal.close()


async def bombyx(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """The command line as a process: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *BOMBYX,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    await asyncio.sleep(0.01)  # its transport closes in the loop's next turns
    return process.returncode or 0, out.decode(), err.decode()


async def owner_status(*folders: Path, **more: str) -> dict[str, Any]:
    """`bombyx owner status --json`."""
    flags = [flag for folder in folders for flag in ("--state", str(folder))]
    flags += [flag for name, value in more.items() for flag in (f"--{name}", value)]
    code, out, err = await bombyx("owner", "status", *flags, "--json")
    assert code == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


async def told_of(folder: Path, code: str, *, seconds: float = 20.0) -> dict[str, Any]:
    """The one worker of a folder, once its owner is told of this problem."""
    async with asyncio.timeout(seconds):
        while True:
            (worker,) = (await owner_status(folder))["workers"]
            if any(one["code"].startswith(code) for one in worker["problems"]):
                found: dict[str, Any] = worker
                return found
