"""SPEC 1.4: an answer of a real model, saved and recounted; a worker that counts 5 % too many."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bombyx.cli.main import main
from bombyx.client.transcripts import RECEIPT_SUFFIX, TRANSCRIPT_SUFFIX, TranscriptsKept
from bombyx.money.cost import Tokens
from tests.network.harness import Network, network
from worker.engine.llamacpp import LlamaCpp, LlamaCppEngine
from worker.engine.port import EngineEvent, EngineRequest

pytest.importorskip("xllamacpp")

GGUF = Path(__file__).parents[1] / "fixtures" / "tiny-llama" / "tiny-f16.gguf"
LIMIT = 500
ASK: dict[str, Any] = {
    "model": "tiny-llama",
    "messages": [{"role": "user", "content": "Count from 1 to 40."}],
    "temperature": 0,
    # Without its end mark the small model writes on until it is stopped.
    "logit_bias": {"0": -100, "1": -100, "2": -100},
    "max_tokens": LIMIT,
}


class Inflating(LlamaCppEngine):
    """Counts more than it made, in percent; the receipt is signed and priced by what it says."""

    percent = 0

    async def start(self) -> None:
        if self.pid is None:
            await super().start()

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        # More than the limit would not pass the worker's own meter.
        body = {**request.body, "max_tokens": LIMIT * 100 // (100 + self.percent)}
        async for event in super().run(replace(request, body=body)):
            yield replace(event, tokens=self._more(event.tokens))

    def _more(self, tokens: Tokens) -> Tokens:
        return replace(tokens, completion=tokens.completion * (100 + self.percent) // 100)


@pytest.fixture
async def engine() -> AsyncIterator[Inflating]:
    made = Inflating(LlamaCpp(gguf=GGUF, model="tiny-llama", slots=4, threads=1))
    await made.start()
    yield made
    await made.close()


async def saved(net: Network, folder: Path, **changes: Any) -> tuple[str, str]:
    """The files of one answer."""
    with pytest.warns(TranscriptsKept, match="in clear"):
        client = net.sealed(save_transcripts=folder)
    answer = await client.chat.completions.create(**{**ASK, **changes})
    if changes.get("stream"):
        async for _ in answer:
            pass
    return files(folder)


def files(folder: Path) -> tuple[str, str]:
    (transcript,) = folder.glob("*" + TRANSCRIPT_SUFFIX)
    (receipt,) = folder.glob("*" + RECEIPT_SUFFIX)
    for file in (transcript, receipt):
        assert file.stat().st_mode & 0o777 == 0o600
    return str(receipt), str(transcript)


async def audited(receipt: str, transcript: str, capsys: Any) -> tuple[int, dict[str, Any]]:
    command = ["receipt", "audit", receipt, "--transcript", transcript, "--json"]
    code = await asyncio.to_thread(main, [*command, "--tokenizer", str(GGUF)])
    # The network in this process logs to stdout as well.
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("stream", [False, True])
async def test_an_honest_count_fits_and_five_per_cent_more_is_caught(
    tmp_path: Path, engine: Inflating, stream: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async with network(tmp_path, workers=1, engine=engine) as net:
        honest = await saved(net, tmp_path / "honest", stream=stream)
        engine.percent = 5
        padded = await saved(net, tmp_path / "padded", stream=stream)
        code, told = await audited(*honest, capsys)
        assert (code, told["verdict"], told["excess_nano"]) == (0, "fits", "0")
        assert told["prompt"]["signed"] == told["prompt"]["recounted"]
        assert told["completion"]["signed"] - told["completion"]["recounted"] <= 4
        assert told["tokenizer"]["proven"] is True
        assert told["completion"]["signed"] == LIMIT
        code, told = await audited(*padded, capsys)
        assert (code, told["verdict"]) == (1, "overcounted")
        signed, recounted = told["completion"]["signed"], told["completion"]["recounted"]
        assert (signed, recounted) == (499, 476)
        assert told["prompt"]["verdict"] == "fits"
        assert int(told["excess_nano"]) > 0
        # The receipt itself verifies: it is the count that is wrong.
        assert await asyncio.to_thread(main, ["receipt", "verify", padded[0]]) == 0
        mixed = ["receipt", "audit", honest[0], "--transcript", padded[1]]
        assert await asyncio.to_thread(main, mixed) == 1
