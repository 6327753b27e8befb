"""The environment that `scripts/sglang-cpu` builds: real SGLang on plain CPU PyTorch.

Beside it llama.cpp with the same weights, which has to pass the same stories.
"""

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from bombyx.chat.body import Body
from tests.worker.engine.contract import Subject
from worker.engine.llamacpp import LlamaCpp, LlamaCppEngine
from worker.engine.port import EngineEvent, EngineModel, EngineRequest, Load
from worker.engine.server.launcher import ServerLauncher
from worker.engine.server.plan import Device, ServerPlan
from worker.engine.server.sglang import SGLANG
from worker.engine.supervised import SupervisedEngine

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build" / "sglang-cpu" / "bin" / "python"
FIXTURE = ROOT / "tests" / "fixtures" / "tiny-llama"
MODEL = FIXTURE / "hf"
NAME = "tiny-llama"
QUESTION, REPLY = "What is the capital of France?", "The capital of France is Paris."
COUNTS = (18, 9)
"""Tokens of that question, template and all, and of that reply with its end."""
END_TOKEN = 2
ENDLESS: dict[str, Any] = {"logit_bias": {str(END_TOKEN): -100}, "max_tokens": 1500}
"""An answer without an end, as any client may ask for it."""
SUBJECT = Subject(
    model=NAME,
    short=QUESTION,
    long="Count from 1 to 40.",
    stop=" is",
    prompt_tokens=18,
    opening="The capital of",
    slowly={"ignore_eos": True},
)


def is_wanted() -> bool:
    """Whether the lane runs; not in every `make test`, where each process would start its own."""
    return os.environ.get("BOMBYX_SGLANG") == "1"


def sglang(scratch: Path, **changes: Any) -> SupervisedEngine:
    given = {"slots": 4, "ready_seconds": 180.0, "device": Device.CPU, **changes}
    plan = ServerPlan(MODEL, NAME, PYTHON, scratch, **given)
    return SupervisedEngine(ServerLauncher(SGLANG, plan))


def llamacpp() -> SupervisedEngine:
    gguf = FIXTURE / "tiny-f16.gguf"
    return LlamaCppEngine(LlamaCpp(gguf=gguf, model=NAME, slots=4, threads=1))


class Lent:
    """An engine that a worker uses without starting or stopping it."""

    def __init__(self, owned: SupervisedEngine) -> None:
        self.owned = owned

    async def start(self) -> None:
        """It runs."""

    async def close(self) -> None:
        """It runs on."""

    def models(self) -> list[EngineModel]:
        return self.owned.models()

    async def count_prompt(self, path: str, body: Body) -> int | None:
        return await self.owned.count_prompt(path, body)

    def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        return self.owned.run(request)

    async def load(self) -> Load:
        return await self.owned.load()
