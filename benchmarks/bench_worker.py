"""The real worker around an engine that costs next to nothing.

python -m benchmarks.bench_worker GATEWAY_URL SIMULATED_ROOT STATE      serves until it is killed
python -m benchmarks.bench_worker alone                                 the engine by itself
"""

import asyncio
import hashlib
import importlib.metadata
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import uvloop

from bombyx.attestation.simulated import image_measurement
from bombyx.chat.body import Body
from bombyx.money.cost import Tokens
from worker.app import Parts, Worker
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import load_or_create_root
from worker.clock import now_ms
from worker.engine.port import Chunk, EngineEvent, EngineModel, EngineRequest, Load
from worker.ledger.journal import Journal
from worker.logs import configure_logs
from worker.settings import WorkerSettings

MODEL = "bench"
DIGEST = hashlib.sha256(MODEL.encode()).hexdigest()
STREAMS = 300
TOKENS = 100
GAP_SECONDS = 0.05
PROMPT_TOKENS = 20


def _chunk(content: str | None, finish: str | None) -> dict[str, object]:
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}],
    }


class BenchEngine:
    """Ready chunks, one each `GAP_SECONDS`."""

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def models(self) -> list[EngineModel]:
        """One model."""
        return [EngineModel(MODEL, 100_000, DIGEST, DIGEST, 1, 64, 0)]

    async def count_prompt(self, path: str, body: Body) -> int | None:
        """Always the same."""
        return PROMPT_TOKENS

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        """The same chunk again and again."""
        token, last = _chunk(" token", None), _chunk(None, "stop")
        loop = asyncio.get_running_loop()
        at = loop.time()
        for count in range(1, TOKENS):
            at += GAP_SECONDS
            await asyncio.sleep(at - loop.time())
            yield Chunk(token, Tokens(PROMPT_TOKENS, 0, count, 0))
        yield Chunk(last, Tokens(PROMPT_TOKENS, 0, TOKENS, 0))

    async def load(self) -> Load:
        """Never full."""
        return Load(0, 0, 10_000)


async def serve(gateway: str, root_file: str, state: str) -> None:
    """Link, say so, answer."""
    configure_logs()
    root = load_or_create_root(Path(root_file), now=int(time.time()))
    image = image_measurement(importlib.metadata.version("bombyx"))
    quoter = SimulatedQuoter(root, image=image, clock=lambda: int(time.time()))
    engine = BenchEngine()
    journal = await Journal.open(Path(state) / "bench-worker.db")
    settings = WorkerSettings(gateway=(gateway,), slots=10_000, wallet="bench")
    worker = await Worker.create(settings, Parts(engine, engine.models(), quoter, journal, now_ms))
    worker.start()
    await worker.linked.wait()
    sys.stdout.write('{"ready":true}\n')
    sys.stdout.flush()
    await asyncio.Event().wait()


async def alone() -> None:
    """What pacing and chunks cost without a worker around them, in CPU us per token."""
    engine, request = BenchEngine(), EngineRequest("/v1/chat/completions", {}, "", "")

    async def drain() -> None:
        async with aclosing(engine.run(request)) as events:
            async for _ in events:
                pass

    start = time.process_time()
    await asyncio.gather(*(drain() for _ in range(STREAMS)))
    used = time.process_time() - start
    sys.stdout.write(f'{{"us_cpu":{used / STREAMS / TOKENS * 1e6:.2f}}}\n')


if __name__ == "__main__":
    uvloop.run(alone() if sys.argv[1] == "alone" else serve(*sys.argv[1:]))
