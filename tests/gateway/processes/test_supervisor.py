"""The supervisor with children that are small scripts: starts, deaths, rounds, ends."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from bombyx.errors import SetupError
from gateway.processes import supervisor
from gateway.processes.supervisor import Recipe, Seat, Supervisor
from gateway.serve import bind

SLOTS = (4, 5, 6)
CHILD = """
import json, os, signal, sys, time
slot, port, folder, public = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
os.fstat(public)
with open(os.path.join(folder, "lives"), "a") as lives:
    lives.write(f"{slot} {port} start\\n")
def leave(*_):
    with open(os.path.join(folder, "lives"), "a") as lives:
        lives.write(f"{slot} {port} end\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.path.exists(folder + "/deaf") else leave)
if os.path.exists(folder + "/broken"):
    print(json.dumps({"error": {"message": "no database"}}), flush=True)
    sys.exit(1)
print("not JSON", flush=True)
print(json.dumps({"slot": slot, "link_port": port or 9000 + slot, "pid": os.getpid()}), flush=True)
print(json.dumps({"linked": 1}), flush=True)
while True:
    time.sleep(0.01)
"""


class Stage:
    """A supervisor whose children write down when they start and end."""

    def __init__(self, folder: Path, run: "asyncio.Task[None]", of: Supervisor) -> None:
        self.folder = folder
        self.run = run
        self.of = of
        self.ready: list[dict[str, Any]] = []

    @property
    def lives(self) -> list[str]:
        return (self.folder / "lives").read_text().splitlines()

    def seat(self, slot: int) -> Seat:
        return next(one for one in self.of.seats if one.slot == slot)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "STOP_MARGIN_SECONDS", 0.2)


@contextlib.asynccontextmanager
async def stage(folder: Path, *, link_port: int = 0) -> AsyncIterator[Stage]:
    with bind("127.0.0.1", 0) as public:
        of = Supervisor(
            Recipe(
                argv=lambda slot, port: [
                    *(sys.executable, "-S", "-c", CHILD, str(slot), str(port), str(folder)),
                    str(public.fileno()),
                ],
                slots=SLOTS,
                public=public,
                link_port=link_port,
                grace_seconds=0.3,
            )
        )
        ready: list[dict[str, Any]] = []
        run = asyncio.create_task(of.run(ready.extend))
        one = Stage(folder, run, of)
        one.ready = ready
        try:
            await until(lambda: len(ready) == len(SLOTS) or run.done())
            yield one
        finally:
            of.stop()
            with contextlib.suppress(SetupError):
                await run


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_all_are_ready_once_and_end_with_their_supervisor(tmp_path: Path) -> None:
    async with stage(tmp_path, link_port=7000) as on:
        assert [(one["slot"], one["link_port"]) for one in on.ready] == [
            (4, 7000),
            (5, 7001),
            (6, 7002),
        ]
    assert sorted(on.lives) == sorted(
        f"{slot} {7000 + at} {word}" for at, slot in enumerate(SLOTS) for word in ("start", "end")
    )


async def test_a_process_that_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    async with stage(tmp_path) as on:
        with pytest.raises(SetupError, match="no database"):
            await on.run
    assert not on.ready


async def test_who_dies_is_started_again_at_the_same_port(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        before = on.seat(5).ready["pid"]
        with structlog.testing.capture_logs() as logs:
            os.kill(before, signal.SIGKILL)
            await until(lambda: on.seat(5).ready["pid"] != before)
        assert on.lives.count("5 9005 start") == 1
        assert [one["slot"] for one in logs if one["event"] == "process_ended"] == [5]
        assert len(on.lives) == 4


async def test_a_port_that_was_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        (tmp_path / "broken").touch()
        os.kill(on.seat(5).ready["pid"], signal.SIGKILL)
        await until(lambda: on.seat(5).port == 0)
        (tmp_path / "broken").unlink()
        await until(on.seat(5).up.is_set)
        assert on.seat(5).port == 9005


async def test_a_round_replaces_one_after_the_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        first = len(on.lives)
        assert not on.run.done()  # else nobody handles the signal
        os.kill(os.getpid(), signal.SIGHUP)
        on.of.roll()
        await until(lambda: len(on.lives) == first + 6)
        assert on.lives[first:] == [
            f"{slot} {port} {word}"
            for slot in SLOTS
            for port, word in ((0, "end"), (9000 + slot, "start"))
        ]
        await until(lambda: all(seat.up.is_set() for seat in on.of.seats))


async def test_a_round_ends_where_a_new_process_does_not_come_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as on:
        monkeypatch.setattr(supervisor, "START_SECONDS", 0.3)
        (tmp_path / "broken").touch()
        with structlog.testing.capture_logs() as logs:
            on.of.roll()
            await until(lambda: any(o["event"] == "rolling_restart_stopped" for o in logs))
        assert [seat.up.is_set() for seat in on.of.seats] == [False, True, True]


async def test_who_does_not_end_is_killed(tmp_path: Path) -> None:
    (tmp_path / "deaf").touch()
    async with stage(tmp_path) as on:
        pids = [seat.ready["pid"] for seat in on.of.seats]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_asked_to_end_a_second_time_it_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_MARGIN_SECONDS", 60)
    (tmp_path / "deaf").touch()
    async with stage(tmp_path) as on:
        on.of.stop()
        await asyncio.sleep(0.05)
        on.of.stop()
        await asyncio.wait_for(on.run, 5)


def test_a_line_that_is_no_document_is_none() -> None:
    assert supervisor._document(b"[1]") == {}
    assert supervisor._document(json.dumps({"linked": 1}).encode()) == {"linked": 1}
