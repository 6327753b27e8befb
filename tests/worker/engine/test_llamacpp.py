import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from bombyx.errors import EngineFailed, SetupError
from tests.worker.engine.contract import EngineContract, Subject, collect, request_of
from tests.worker.engine.text_contract import TextContract
from worker.engine.llamacpp import LlamaCpp, LlamaCppEngine
from worker.engine.port import Answer, Engine

pytest.importorskip("xllamacpp")

GGUF = Path(__file__).parents[2] / "fixtures" / "tiny-llama" / "tiny-f16.gguf"
SETTINGS = LlamaCpp(gguf=GGUF, model="tiny-llama", slots=2, threads=1)
SUBJECT = Subject(
    model="tiny-llama",
    short="What is the capital of France?",
    long="Count from 1 to 40.",
    stop=" is",
    prompt_tokens=18,
    opening="The capital of",
    slowly={"ignore_eos": True, "logprobs": True, "top_logprobs": 20},
)


@pytest.fixture
def subject() -> Subject:
    return SUBJECT


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def engine() -> AsyncIterator[Engine]:
    made = LlamaCppEngine(SETTINGS)
    await made.start()
    yield made
    await made.close()


@pytest.mark.asyncio(loop_scope="class")
class TestLlamaCpp(EngineContract, TextContract):
    async def test_a_real_model_answers_with_real_counts(
        self, engine: Engine, subject: Subject
    ) -> None:
        answer = (await collect(engine, request_of(subject, subject.short)))[-1]
        assert isinstance(answer, Answer)
        content = answer.payload["choices"][0]["message"]["content"]
        assert content == "The capital of France is Paris."
        assert (answer.tokens.prompt, answer.tokens.completion) == (18, 9)

    async def test_no_prompt_is_cached_for_the_next_one(
        self, engine: Engine, subject: Subject
    ) -> None:
        for _ in range(2):
            answer = (await collect(engine, request_of(subject, subject.short)))[-1]
            assert answer.tokens.cached == 0


async def test_a_killed_child_fails_its_request_and_is_replaced() -> None:
    engine = LlamaCppEngine(SETTINGS)
    await engine.start()
    try:
        first = engine.pid
        assert first is not None
        run = engine.run(request_of(SUBJECT, SUBJECT.long, max_tokens=1500, **SUBJECT.slowly))
        await anext(run)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineFailed):
            async for _ in run:
                pass
        async with asyncio.timeout(10):
            while engine.pid in (None, first):
                await asyncio.sleep(0.05)
            while True:
                try:
                    answer = (await collect(engine, request_of(SUBJECT, SUBJECT.short)))[-1]
                    break
                except EngineFailed:
                    await asyncio.sleep(0.05)
        assert answer.tokens.completion == 9
    finally:
        await engine.close()


async def test_close_leaves_no_child() -> None:
    engine = LlamaCppEngine(SETTINGS)
    await engine.start()
    pid = engine.pid
    assert pid is not None
    await engine.close()
    await engine.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(EngineFailed):
        await engine.load()


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_a_killed_worker_leaves_no_child() -> None:
    program = (
        "import asyncio\nfrom tests.worker.engine.test_llamacpp import SETTINGS, LlamaCppEngine\n"
        "async def main():\n"
        "    engine = LlamaCppEngine(SETTINGS)\n    await engine.start()\n"
        "    print(engine.pid, flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, cwd=GGUF.parents[3]
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(3):
        while _lives(child):
            await asyncio.sleep(0.02)


async def test_a_file_that_is_no_model_is_an_engine_failure(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    engine = LlamaCppEngine(LlamaCpp(gguf=broken, model="x"))
    with pytest.raises(EngineFailed):
        await engine.start()
    assert engine.pid is None


async def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        await LlamaCppEngine(LlamaCpp(gguf=tmp_path / "none.gguf", model="x")).start()
