"""The real worker around a real engine: python -m benchmarks.bench_engine KIND GATEWAY ROOT STATE.

Says where the engine itself listens, so that the same questions can be put to it alone.
"""

import asyncio
import importlib.metadata
import json
import sys
import time
from pathlib import Path

import uvloop

from bombyx.attestation.simulated import image_measurement
from worker.app import Parts, Worker
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import load_or_create_root
from worker.clock import now_ms
from worker.engine.llamacpp import LlamaCpp, LlamaCppEngine
from worker.engine.server.launcher import ServerLauncher
from worker.engine.server.plan import Device, ServerPlan
from worker.engine.server.sglang import SGLANG
from worker.engine.supervised import SupervisedEngine
from worker.ledger.journal import Journal
from worker.logs import configure_logs
from worker.settings import WorkerSettings

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / "build" / "sglang-cpu" / "bin" / "python"
BUILT = ROOT / "build" / "sglang-cpu" / ".built"
FIXTURE = ROOT / "tests" / "fixtures" / "tiny-llama"
MODEL = "tiny-llama"
SLOTS = 4


def build(kind: str, state: Path) -> SupervisedEngine:
    """Both on the same weights."""
    if kind == "llamacpp":
        gguf = FIXTURE / "tiny-f16.gguf"
        return LlamaCppEngine(LlamaCpp(gguf=gguf, model=MODEL, slots=SLOTS, threads=1))
    plan = ServerPlan(FIXTURE / "hf", MODEL, PYTHON, state, slots=SLOTS, device=Device.CPU)
    return SupervisedEngine(ServerLauncher(SGLANG, plan))


async def serve(kind: str, gateway: str, root_file: str, state: str) -> None:
    """Link, say so, answer."""
    configure_logs()
    root = load_or_create_root(Path(root_file), now=int(time.time()))
    image = image_measurement(importlib.metadata.version("bombyx"))
    quoter = SimulatedQuoter(root, image=image, clock=lambda: int(time.time()))
    engine = build(kind, Path(state))
    await engine.start()
    try:
        journal = await Journal.open(Path(state) / "bench-worker.db")
        settings = WorkerSettings(gateway=(gateway,), slots=SLOTS, wallet="bench")
        parts = Parts(engine, engine.models(), quoter, journal, now_ms)
        worker = await Worker.create(settings, parts)
        worker.start()
        await worker.linked.wait()
        server = engine._server()._server  # noqa: SLF001 - the bare engine, with its own key
        told = {"url": server.url, "key": server.api_key}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await engine.close()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
