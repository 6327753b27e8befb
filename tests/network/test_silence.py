"""SPEC 3.1, 3.7, 6.1: silence, padding and partial statements through a real gateway."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import bombyx
from bombyx.client.opening import ExactPadding
from bombyx.client.reading import AnswerReader
from bombyx.envelope.frames import FrameSplitter, FrameType
from tests.network.harness import CREDIT, MODEL, Network, network
from worker.inference import pump

THOUGHTFUL = "count: 3\npace: 150"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "PARTIAL_SECONDS", 0.02)
    monkeypatch.setattr(pump, "KEEPALIVE_SECONDS", 0.04)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the client reads off the wire."""
    seen: list[bytes] = []
    feed = AnswerReader.feed

    def noted(self: AnswerReader, data: bytes) -> bytes:
        seen.append(data)
        return feed(self, data)

    monkeypatch.setattr(AnswerReader, "feed", noted)
    return seen


async def ask(net: Network, text: str, **options: Any) -> tuple[str, bombyx.VerifiedAnswer]:
    answers: list[bombyx.VerifiedAnswer] = []
    client = net.sealed(on_receipt=answers.append, **options)
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], stream=True
    )
    words = [c.choices[0].delta.content or "" async for c in stream if c.choices]
    return "".join(words), answers[0]


def sizes(wire: list[bytes]) -> dict[int, list[int]]:
    """Lengths of frames by type."""
    found: dict[int, list[int]] = {}
    for frame in FrameSplitter().feed(b"".join(wire)[32:]):
        found.setdefault(frame.type, []).append(len(frame.body))
    return found


@pytest.mark.usefixtures("quick")
async def test_3_1_padding_passes_the_gateway_unbilled_and_is_skipped(
    tmp_path: Path, wire: list[bytes]
) -> None:
    async with network(tmp_path, workers=1) as net:
        text, answer = await ask(net, THOUGHTFUL)
        assert text.split() == ["1", "2", "3"]
        frames = sizes(wire)
        assert len(frames[FrameType.PADDING]) >= 2
        assert len(frames[FrameType.USAGE]) >= 2
        statement = answer.receipt.statement
        assert statement.tokens.completion == 3
        await net.settled()
        assert await net.balance() == CREDIT - int(statement.charge_nano)


@pytest.mark.usefixtures("quick")
async def test_6_3_a_long_prefill_is_silent_so_that_another_worker_may_be_asked(
    tmp_path: Path,
) -> None:
    """No byte before the first data: the first worker hangs, and the second one answers."""
    async with network(tmp_path, workers=2, first_byte_stream_s=1) as net:
        slow = net.workers[0].engine
        began: list[str] = []
        run = slow.run

        async def prefill(request: Any) -> Any:
            began.append(request.request_id)
            if len(began) == 1:
                await asyncio.sleep(30)
            async for event in run(request):
                yield event

        for one in net.workers:
            one.engine.run = prefill  # type: ignore[method-assign]
        text, _ = await ask(net, "count: 2")
        assert text.split() == ["1", "2"]
        assert len(began) == 2


async def test_3_7_exact_shows_what_bucket_hides(tmp_path: Path, wire: list[bytes]) -> None:
    words = "say: a extraordinarily b"
    async with network(tmp_path, workers=1) as net:
        await ask(net, words + "\npace: 30")
        assert all((size - 16) % 512 == 0 for size in sizes(wire)[FrameType.DATA])
        assert len(set(sizes(wire)[FrameType.DATA])) == 1
        wire.clear()
        with pytest.warns(ExactPadding, match="length of every token"):
            _, answer = await ask(net, words + "\npace: 30", padding="exact")
        assert len(set(sizes(wire)[FrameType.DATA])) > 2
        assert answer.summary()["padding"] == "exact"
