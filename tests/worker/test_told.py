"""What goes wrong is found out, takes no new requests, and is told to the owner in a sentence."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bombyx.errors import EngineFailed
from bombyx.link.documents import Goaway
from tests.worker.conftest import StartWorker
from tests.worker.peer import GatewayPeer, PeerLink, unix, until
from tests.worker.sealing import chat, open_answer, seal
from worker import oversight
from worker.app import Worker
from worker.clock import ClockWatch, now_ms
from worker.engine.life import Life
from worker.engine.port import EngineModel
from worker.engine.several import Several
from worker.engine.supervised import SupervisedEngine
from worker.ledger import journal as journal_module
from worker.ledger.journal import Journal
from worker.ledger.rollback import Rollback
from worker.notices import MAX_NOTICES, Notices

HOUR_MS = 3_600_000


@dataclass
class Case:
    """A worker that serves, its gateway, and a clock that may be set."""

    gateway: GatewayPeer
    start: StartWorker
    off: int = 0
    worker: Worker | None = None
    links: list[PeerLink] = field(default_factory=list)

    def clock(self) -> int:
        return now_ms() + self.off

    async def serve(self, **changes: Any) -> PeerLink:
        self.worker = await self.start(clock=self.clock, gateway=(self.origin,), **changes)
        return await self.gateway.link()

    @property
    def origin(self) -> str:
        """What an owner types: the gateway's list is read, and with it its clock."""
        return f"http://127.0.0.1:{self.gateway.port}"

    @property
    def journal(self) -> Journal:
        assert self.worker is not None
        return self.worker._parts.journal

    def sentences(self) -> list[str]:
        assert self.worker is not None
        return [str(one["sentence"]) for one in self.worker.notices.document()]

    async def told(self, pattern: str) -> None:
        await until(lambda: any(re.search(pattern, one) for one in self.sentences()), 5)


@pytest.fixture
def case(gateway: GatewayPeer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(oversight, "CLOCK_SECONDS", 0.05)
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.02)
    return Case(gateway, start_worker)


async def _set_clock_ahead(case: Case) -> None:
    case.off = 2 * HOUR_MS


async def _set_clock_back(case: Case) -> None:
    case.off = -2 * HOUR_MS


async def _revoke(case: Case) -> None:
    (link,) = case.gateway.links
    words = "step image: the measurement was revoked"
    goaway = Goaway(code="worker_refused", message=words, retry=False)
    case.gateway.refuse_with = goaway
    await link.kill()


async def _put_journal_back(case: Case) -> None:
    case.journal.rollback = Rollback("noticed", "the journal is an old copy")


async def _speak_of_strangers(case: Case) -> None:
    (link,) = case.gateway.links
    await link.ack("ab" * 32)


@pytest.mark.parametrize(
    ("breaks", "sentence", "is_left"),
    [
        (_set_clock_ahead, r"clock is 7[12]\d\d s ahead of that of .*: set it right", True),
        (_set_clock_back, r"clock is 7[12]\d\d s behind that of .*: set it right", True),
        (_revoke, r"refuses this worker: worker_refused: .*measurement was revoked", True),
        (_put_journal_back, r"^the journal is an old copy$", False),
        (_speak_of_strangers, r"speak of 1 statements that this journal never held", False),
    ],
    ids=["clock-ahead", "clock-back", "revoked", "rollback", "strangers"],
)
async def test_it_is_found_out_and_told(
    case: Case, breaks: Callable[[Case], Awaitable[None]], sentence: str, is_left: bool
) -> None:
    link = await case.serve()
    assert case.sentences() == []
    await breaks(case)
    await case.told(sentence)
    if is_left:
        await until(lambda: link.is_lost)
        assert case.worker is not None
        assert case.worker.gateways == []
        assert len(case.gateway.links) == 1, "no gateway lists it again"


async def test_a_clock_that_is_wrong_from_the_start_is_never_linked(case: Case) -> None:
    case.off = HOUR_MS
    case.worker = await case.start(clock=case.clock, gateway=(case.origin,))
    await case.told(r"clock is 3\d\d\d s ahead of that")
    assert case.gateway.links == []
    case.off = 0
    await case.gateway.link(seconds=10)
    await until(lambda: not [one for one in case.sentences() if "ahead of" in one])


async def test_a_full_disk_loses_no_statement_and_takes_no_request(case: Case) -> None:
    link = await case.serve()
    sealed = seal(link.listing, chat("pace: 10\ncount: 30"), now=unix())
    stream = await link.ask(sealed)
    await until(lambda: stream.data)
    await case.journal._call(lambda: _no_room(case.journal))
    case.journal.probe()
    await case.told("cannot be written .*full")
    await until(lambda: link.statuses and link.statuses[-1].slots == 0)
    other = seal(link.listing, chat("say: no"), now=unix())
    refused = await (await link.ask(other)).over()
    assert refused.refusal is not None
    assert refused.refusal.refusal.code == "draining"
    await asyncio.sleep(0.2)
    assert not stream.is_over, "what it would sign waits for room"
    await case.journal._call(lambda: _room(case.journal))
    await stream.over()
    opened = open_answer(sealed, link.listing, bytes(stream.data))
    assert opened.end is not None
    assert len(await case.journal.undisposed(link_gateway(case))) == 1
    await until(lambda: case.sentences() == [])
    await until(lambda: link.statuses[-1].slots > 0)


def link_gateway(case: Case) -> str:
    (gateway,) = case.journal.all_unpaid()
    return gateway


def _no_room(journal: Journal) -> None:
    """SQLite says of this just what it says of a full disk."""
    database = journal._file._db
    database.execute("CREATE TABLE filling (x BLOB)")
    used = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {used}")
    database.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON meta BEGIN "
        "INSERT INTO filling VALUES (zeroblob(100000)); END"
    )
    database.execute(
        "CREATE TRIGGER no_room_either BEFORE INSERT ON receipt BEGIN "
        "INSERT INTO filling VALUES (zeroblob(100000)); END"
    )


def _room(journal: Journal) -> None:
    database = journal._file._db
    database.execute("PRAGMA max_page_count = 1000000")


async def test_an_engine_that_died_and_a_folder_that_changed_are_told(tmp_path: Path) -> None:
    launcher = Launcher()
    engine = SupervisedEngine(launcher)
    await engine.examine()
    several, notices = Several(), Notices(now_ms)
    several.add(engine)
    journal = await Journal.open(tmp_path / "journal.db")
    for trouble, sentence in (
        ("SGLang ended (out of GPU memory) and is started again", "out of GPU memory"),
        ("the model's files are not what this worker attested: put them back", "put them back"),
    ):
        engine.trouble = trouble
        oversight.oversee(several, journal, notices)
        (notice,) = notices.document()
        assert notice["name"] == "engine of toy"
        assert sentence in notice["sentence"]
    engine.trouble = None
    oversight.oversee(several, journal, notices)
    assert notices.document() == []
    await journal.close()


class Launcher:
    """Knows a model that it never starts."""

    name = "toy server"

    async def describe(self) -> EngineModel:
        return EngineModel("toy", 10, "00" * 32, "00" * 32, 1, 1, 0)

    async def launch(self, model: EngineModel) -> Life:
        raise EngineFailed("never")


def test_notices_are_counted_bounded_and_taken_back() -> None:
    times = iter(range(1000))
    notices = Notices(lambda: next(times))
    notices.tell("a", "first")
    notices.tell("a", "x" * 1000)
    (one,) = notices.document()
    assert (one["times"], one["since"], one["last"], len(one["sentence"])) == (2, 0, 1, 400)
    for number in range(MAX_NOTICES):
        notices.tell(str(number), "more")
    assert len(notices.document()) == MAX_NOTICES
    assert notices.document()[0]["name"] == "0"
    notices.clear("0")
    notices.clear("0")
    assert len(notices.document()) == MAX_NOTICES - 1


@pytest.mark.parametrize(
    ("went_ms", "steady", "jump"),
    [
        (5000, 5.0, None),
        (5000 + 29_000, 5.0, None),
        (5000 + 30_000, 5.0, 30.0),
        (5000 - 60_000, 5.0, -60.0),
        (600_000, 600.0, None),
    ],
)
def test_a_clock_that_was_set_is_told_from_one_that_goes(
    went_ms: int, steady: float, jump: float | None
) -> None:
    watch = ClockWatch(1_000_000, 50.0)
    assert watch.jump(1_000_000 + went_ms, 50.0 + steady) == jump
    assert watch.jump(1_000_000 + went_ms + 1000, 51.0 + steady) is None


async def test_that_the_clock_was_set_is_told_for_a_while_and_then_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oversight, "CLOCK_SECONDS", 0.01)
    monkeypatch.setattr(oversight, "CLOCK_TOLD_SECONDS", 1.0)
    off, renewed, notices = [0], [], Notices(now_ms)

    async def renew() -> None:
        renewed.append(off[0])

    watching = asyncio.create_task(oversight.watch_clock(lambda: now_ms() + off[0], notices, renew))
    await asyncio.sleep(0.03)
    off[0] = HOUR_MS
    await until(notices.document)
    assert notices.document()[0]["name"] == oversight.CLOCK
    await asyncio.sleep(0.03)
    assert notices.document(), "not gone at the next look"
    await until(lambda: not notices.document())
    assert renewed == [HOUR_MS]
    watching.cancel()
    await asyncio.wait({watching})
