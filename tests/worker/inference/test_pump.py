"""SPEC 3.7, 6 and 6.8 at the pump: pace, back-pressure, failing engines, and the one last word."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bombyx import canonical
from bombyx.chat.forms import OpenAIForm
from bombyx.envelope.frames import FrameSplitter, FrameType
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    Opened,
    ResponseOpener,
    UsageSeen,
)
from bombyx.envelope.response import MAX_PAYLOAD, Padding, ResponseSealer
from bombyx.envelope.walker import ResponseWalker
from bombyx.errors import ContextLengthExceeded, EngineFailed
from bombyx.money.cost import Tokens
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status
from tests.worker.ledger.samples import GATEWAY, make_scribe, matter
from worker.clock import now_ms
from worker.engine.port import Chunk, EngineEvent, EngineRequest, Progress
from worker.engine.scripted import ScriptedEngine
from worker.inference import pump as pump_module
from worker.inference.answer import Answer, Desk
from worker.inference.meter import Meter
from worker.inference.outlet import StreamStopped
from worker.inference.pump import BUFFER_BYTES, Pump
from worker.ledger.journal import Journal
from worker.ledger.press import Press

H, SECRET, WORKER = b"\x01" * 32, b"\x02" * 32, "w"


class Tape:
    """An outlet that keeps what it gets, and can be made to wait."""

    def __init__(self) -> None:
        self.stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sent: list[bytes] = []
        self.statements: list[Receipt] = []
        self.resets: list[str] = []
        self.has_ended = False
        self.open = asyncio.Event()
        self.open.set()
        self.stalls = False

    async def writable(self) -> None:
        if self.stalls:
            raise StreamStopped("nobody reads")
        await self.open.wait()

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def statement(self, receipt: bytes) -> None:
        self.statements.append(canonical.decode(receipt, Receipt))

    def end(self) -> None:
        self.has_ended = True

    def reset(self, code: str) -> None:
        self.resets.append(code)

    def opened(self) -> list[Opened]:
        return ResponseOpener(H, {WORKER: SECRET}).feed(b"".join(self.sent))

    @property
    def text(self) -> bytes:
        return b"".join(one.payload for one in self.opened() if isinstance(one, DataOpened))


class Played(ScriptedEngine):
    """An engine that runs a given generator."""

    def __init__(self, play: Callable[[], AsyncGenerator[EngineEvent, None]]) -> None:
        super().__init__()
        self._play = play

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        async for event in self._play():
            yield event


def chunk(count: int, text: str = "x") -> Chunk:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return Chunk({"choices": [choice]}, Tokens(prompt=3, completion=count))


@dataclass
class Studio:
    """What a pump needs; each `run` is one answer."""

    journal: Journal
    press: Press
    tape: Tape = field(default_factory=Tape)

    def pump(
        self, play: Callable[[], AsyncGenerator[EngineEvent, None]], *, max_seconds: float = 10.0
    ) -> Pump:
        desk = Desk(self.press.sign, self.journal, now_ms)
        facts = replace(matter(), max_cost=10**9)
        sealer = ResponseSealer(SECRET, h=H, salt=b"\x03" * 32, padding=Padding.BUCKET)
        return Pump(
            Played(play),
            EngineRequest("/v1/chat/completions", {"stream": True}, "r", "s"),
            Answer(sealer, self.tape, facts, h=H, desk=desk),
            meter=Meter(
                rates=facts.rates, fee_bps=500, max_input=10, max_output=10**6, max_cost=10**9
            ),
            form=OpenAIForm(),
            max_seconds=max_seconds,
        )


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    journal = await Journal.open(tmp_path / "journal.db")
    press = Press(make_scribe(), lambda _: None)
    yield Studio(journal, press)
    press.close()
    await journal.close()


async def test_fast_tokens_share_frames_and_slow_ones_do_not(studio: Studio) -> None:
    async def fast() -> AsyncGenerator[EngineEvent, None]:
        for count in range(1, 101):
            await asyncio.sleep(0.001)
            yield chunk(count)

    await studio.pump(fast).run(studio.tape)
    pieces = [one for one in studio.tape.opened() if isinstance(one, DataOpened)]
    assert 8 < len(pieces) < 40
    assert studio.tape.text.count(b"data: {") == 100


async def test_an_answer_beyond_the_longest_run_is_an_error_frame(studio: Studio) -> None:
    async def endless() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1)
        await asyncio.sleep(60)

    await studio.pump(endless, max_seconds=0.05).run(studio.tape)
    events = studio.tape.opened()
    (error,) = [one for one in events if isinstance(one, ErrorOpened)]
    assert json.loads(error.body)["code"] == "engine_timeout"
    assert isinstance(events[-1], EndOpened)


async def test_a_driver_s_own_bug_is_named_without_its_words(studio: Studio) -> None:
    async def buggy() -> AsyncGenerator[EngineEvent, None]:
        raise ValueError("the prompt was: secret")
        yield chunk(1)

    assert await studio.pump(buggy).run(studio.tape) == "engine_failed"
    assert studio.tape.resets == ["engine_failed"]
    assert studio.tape.sent == []


@pytest.mark.spec("6.3-a")
async def test_an_engine_that_fails_before_it_says_anything_is_a_reset_without_a_bill(
    studio: Studio,
) -> None:
    async def failing() -> AsyncGenerator[EngineEvent, None]:
        yield Progress(chunk(5).tokens)
        raise EngineFailed("the engine's connection failed")

    assert await studio.pump(failing).run(studio.tape) == "engine_failed"
    assert (studio.tape.resets, studio.tape.sent) == (["engine_failed"], [])
    assert studio.tape.statements == []


async def test_a_request_that_the_engine_refuses_is_answered_with_its_error(
    studio: Studio,
) -> None:
    async def refusing() -> AsyncGenerator[EngineEvent, None]:
        raise ContextLengthExceeded("prompt and output are longer than the model's context")
        yield chunk(1)

    assert await studio.pump(refusing).run(studio.tape) is None
    assert json.loads(studio.tape.text)["error"]["code"] == "context_length_exceeded"
    assert studio.tape.resets == []


async def test_a_worker_that_stops_before_its_answer_began_leaves_it_to_another(
    studio: Studio,
) -> None:
    async def silent() -> AsyncGenerator[EngineEvent, None]:
        await asyncio.sleep(60)
        yield chunk(1)

    studio.tape.stopped.set_result("draining")
    assert await studio.pump(silent).run(studio.tape) == "draining"
    assert (studio.tape.resets, studio.tape.statements) == (["draining"], [])


async def test_a_reader_that_waits_holds_the_engine_back(studio: Studio) -> None:
    made = 0

    async def torrent() -> AsyncGenerator[EngineEvent, None]:
        nonlocal made
        for count in range(1, 101):
            made = count
            yield chunk(count, "Z" * 10_000)

    studio.tape.open.clear()
    running = asyncio.create_task(studio.pump(torrent).run(studio.tape))
    await asyncio.sleep(0.05)
    assert made * 10_000 < 2 * BUFFER_BYTES
    studio.tape.open.set()
    await running
    assert made == 100
    assert studio.tape.text.count(b"Z") == 1_000_000
    assert studio.tape.has_ended


async def test_a_payload_longer_than_a_frame_is_cut_into_frames(studio: Studio) -> None:
    async def huge() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1, "Z" * (MAX_PAYLOAD + 100))

    await studio.pump(huge).run(studio.tape)
    assert studio.tape.text.count(b"Z") == MAX_PAYLOAD + 100


async def test_a_stream_stopped_while_its_final_is_kept_sends_that_final_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One terminal statement, however the end and a reset cross each other."""
    keep = studio.journal.keep
    kept: list[Receipt] = []

    async def slow(receipt: Receipt, document: bytes) -> None:
        kept.append(receipt)
        if len(kept) == 1:
            studio.tape.stopped.set_result("client_gone")
            await asyncio.sleep(10)
        await keep(receipt, document)

    monkeypatch.setattr(studio.journal, "keep", slow)

    async def short() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1)

    await studio.pump(short).run(studio.tape)
    (receipt,) = studio.tape.statements
    assert receipt.statement.status is Status.FINAL
    assert kept == [receipt, receipt]
    assert not studio.tape.has_ended
    assert [one.n for one in await studio.journal.undisposed(GATEWAY)] == [0]
    walker = ResponseWalker(H)
    walker.feed(b"".join(studio.tape.sent))
    digest, length = walker.position()
    assert (receipt.statement.resp_ct_hash, receipt.statement.resp_ct_bytes) == (
        digest.hex(),
        length,
    )


async def test_a_stalled_stream_ends_as_aborted_with_what_was_counted(studio: Studio) -> None:
    async def some() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1)
        await asyncio.sleep(0.01)
        studio.tape.stalls = True
        yield chunk(2)
        await asyncio.sleep(60)

    await studio.pump(some).run(studio.tape)
    (receipt,) = studio.tape.statements
    assert receipt.statement.status is Status.ABORTED
    assert receipt.statement.tokens.completion == 2
    assert len(await studio.journal.undisposed(GATEWAY)) == 1


@pytest.mark.spec("6.8-b")
async def test_a_statement_is_on_disk_before_its_frame_is_sent(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    keep, send = studio.journal.keep, studio.tape.send

    async def noted_keep(receipt: Receipt, document: bytes) -> None:
        await keep(receipt, document)
        order.append("kept")

    def noted_send(data: bytes) -> None:
        order.append("sent")
        send(data)

    monkeypatch.setattr(studio.journal, "keep", noted_keep)
    monkeypatch.setattr(studio.tape, "send", noted_send)

    async def short() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1)

    await studio.pump(short).run(studio.tape)
    assert order[-2:] == ["kept", "sent"]
    assert order.count("kept") == 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "PARTIAL_SECONDS", 0.01)
    monkeypatch.setattr(pump_module, "KEEPALIVE_SECONDS", 0.03)


def signed(tape: Tape) -> list[Receipt]:
    seen = [one for one in tape.opened() if isinstance(one, UsageSeen)]
    return [canonical.decode(one.receipt, Receipt) for one in seen]


def kinds(tape: Tape) -> list[int]:
    return [frame.type for frame in FrameSplitter().feed(b"".join(tape.sent)[32:])]


@pytest.mark.usefixtures("quick")
async def test_6_1_a_stream_that_falls_silent_has_signed_all_that_it_sent(studio: Studio) -> None:
    """What came before a silence is on the bill of a stream that is cut in it."""

    async def stalls() -> AsyncGenerator[EngineEvent, None]:
        for count in range(1, 4):
            yield chunk(count)
        await asyncio.sleep(0.1)
        yield chunk(4)

    await studio.pump(stalls).run(studio.tape)
    told = [(one.statement.status, one.statement.tokens.completion) for one in signed(studio.tape)]
    assert told == [(Status.PARTIAL, 3), (Status.FINAL, 4)]


@pytest.mark.usefixtures("quick")
async def test_6_1_a_statement_counts_what_was_sealed_and_not_what_waits(studio: Studio) -> None:
    """Content that comes while the link is full is not billed by the statement before it."""
    release = asyncio.Event()

    async def blocked() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1)
        await asyncio.sleep(0.005)
        studio.tape.open.clear()
        yield chunk(2)
        await asyncio.sleep(0.03)
        yield chunk(3)
        studio.tape.open.set()
        await release.wait()

    running = asyncio.create_task(studio.pump(blocked).run(studio.tape))
    await asyncio.sleep(0.08)
    release.set()
    await running
    sent = 0
    for opened in studio.tape.opened():
        if isinstance(opened, DataOpened):
            sent += opened.payload.count(b"data: {")
        elif isinstance(opened, UsageSeen):
            receipt = canonical.decode(opened.receipt, Receipt)
            assert receipt.statement.tokens.completion <= sent


@pytest.mark.usefixtures("quick")
async def test_3_1_silence_within_a_stream_is_filled_with_padding_nobody_pays_for(
    studio: Studio,
) -> None:
    async def thinks() -> AsyncGenerator[EngineEvent, None]:
        yield chunk(1)
        await asyncio.sleep(0.15)
        yield chunk(2)

    await studio.pump(thinks).run(studio.tape)
    frames = kinds(studio.tape)
    assert 2 <= frames.count(FrameType.PADDING) <= 5
    assert studio.tape.text.count(b"data: {") == 2
    assert signed(studio.tape)[-1].statement.tokens.completion == 2
    assert isinstance(studio.tape.opened()[-1], EndOpened)


@pytest.mark.usefixtures("quick")
async def test_6_3_nothing_is_sent_before_the_first_data(studio: Studio) -> None:
    """Padding during a long prefill would commit the gateway to this worker."""
    early: list[bytes] = []

    async def prefills() -> AsyncGenerator[EngineEvent, None]:
        await asyncio.sleep(0.1)
        early.extend(studio.tape.sent)
        yield chunk(1)

    await studio.pump(prefills).run(studio.tape)
    assert early == []
    assert kinds(studio.tape)[:2] == [FrameType.HEAD, FrameType.DATA]
