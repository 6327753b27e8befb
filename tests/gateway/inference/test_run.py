"""Runs in flight and answers kept for a while (SPEC 14.2)."""

import asyncio

import pytest

from bombyx.envelope.walker import UsageNoted
from bombyx.errors import BadAnswer, MalformedFrame, RelayInterrupted
from bombyx.money.settlement import Claim
from bombyx.units import Nano
from gateway.inference import answer as answers
from gateway.inference.answer import Answer, Phase
from gateway.inference.relay_note import note_frame
from gateway.inference.run import KEEP_SECONDS, Run, Runs


class Passing:
    """A passage that is told what to say."""

    def __init__(self) -> None:
        self.answered = True
        self.ended = False
        self.broken = False
        self._out: list[bytes] = []

    def feed(self, data: bytes) -> list[UsageNoted]:
        if self.broken:
            raise MalformedFrame("no")
        self._out.append(data)
        return []

    def take(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out

    def position(self) -> tuple[bytes, int]:
        return b"", 0


def make_answer() -> tuple[Answer, Passing, list[Answer]]:
    over: list[Answer] = []
    passing = Passing()
    return Answer(passing, over.append), passing, over


def claim(c: str) -> Claim:
    return Claim(
        c=c,
        h="",
        id="",
        payer="",
        gateway="",
        tier="sealed",
        model="",
        fee_bps=0,
        reserve=Nano(0),
        max_input_tokens=0,
        max_output_tokens=1,
        req_ct_hash="",
        deadline_ms=0,
        attempts=(),
    )


def run_of(c: str, size: int) -> Run:
    run = Run("account", claim(c))
    run.answer, _, _ = make_answer()
    run.answer.on_data(bytes(size))
    return run


def test_answers_are_kept_for_300_seconds() -> None:
    runs = Runs(max_bytes=100)
    run = run_of("a", 10)
    runs.add(run)
    assert runs.open_runs() == [run]
    runs.keep(run, 1000.0)
    assert runs.open_runs() == []
    runs.expire(1000.0 + KEEP_SECONDS - 1)
    assert runs.get("a") is not None
    runs.expire(1000.0 + KEEP_SECONDS)
    assert runs.get("a") is None
    assert len(runs) == 0


def test_the_oldest_answers_make_room_for_new_ones() -> None:
    runs = Runs(max_bytes=100)
    for number in range(5):
        run = run_of(str(number), 40)
        runs.add(run)
        runs.keep(run, float(number))
    assert [runs.get(str(number)) is not None for number in range(5)] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_an_answer_beyond_all_room_is_not_kept_and_drives_nothing_out() -> None:
    runs = Runs(max_bytes=100)
    for c, size in (("small", 50), ("large", 101)):
        run = run_of(c, size)
        runs.add(run)
        runs.keep(run, 1.0)
    assert runs.get("large") is None
    assert runs.get("small") is not None
    assert len(runs) == 1


def test_forgetting_a_run_leaves_its_successor() -> None:
    runs = Runs(max_bytes=100)
    older, newer = run_of("c", 1), run_of("c", 1)
    runs.add(older)
    runs.add(newer)
    runs.remove(older)
    assert runs.get("c") is newer
    assert runs.open_runs() == [newer]


async def test_a_decision_is_made_once() -> None:
    run = run_of("c", 1)
    waiting = asyncio.create_task(run.decided())
    await asyncio.sleep(0)
    assert not waiting.done()
    run.decide()
    run.decide(RelayInterrupted("too late"))
    assert await waiting is run.answer


async def test_whoever_joined_is_told_the_failure() -> None:
    run = Run("account", claim("c"))
    run.decide(RelayInterrupted("no"))
    with pytest.raises(RelayInterrupted):
        await run.decided()


async def test_an_answer_wakes_whoever_waits_and_ends_once() -> None:
    answer, passing, over = make_answer()
    waiting = [asyncio.create_task(answer.changed()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    answer.on_data(b"x")
    await asyncio.gather(*waiting, return_exceptions=True)
    assert answer.phase is Phase.ANSWERED
    passing.ended = True
    answer.on_data(b"y")
    answer.on_over(None)
    assert over == [answer]
    answer.on_data(b"z")
    assert answer.chunks == [b"x", b"y"]


async def test_nothing_is_shown_before_an_answer_begins() -> None:
    answer, passing, _ = make_answer()
    passing.answered = False
    answer.on_data(b"salt and head")
    assert (answer.phase, answer.chunks) == (Phase.WAITING, [])
    passing.answered = True
    answer.on_data(b", data")
    assert answer.chunks == [b"salt and head, data"]


async def test_nonsense_is_the_workers_fault_and_ends_the_answer() -> None:
    answer, passing, over = make_answer()
    passing.broken = True
    answer.on_data(b"?")
    passing.broken = False
    answer.on_data(b"!")
    assert isinstance(answer.failure, BadAnswer)
    assert (over, answer.chunks) == ([answer], [])


def test_credit_is_given_once_however_many_read() -> None:
    answer, _, _ = make_answer()
    answer.on_data(bytes(100))
    assert [answer.credit(60), answer.credit(60), answer.credit(100), answer.credit(80)] == [
        60,
        0,
        40,
        0,
    ]


class Taken:
    """A reader that is where the test says."""

    def __init__(self) -> None:
        self.at = 0

    def pump(self) -> None:
        return


def test_a_long_answer_lets_go_of_what_all_readers_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_KEPT_BYTES", 3)
    answer, _, _ = make_answer()
    fast, slow = Taken(), Taken()
    answer.readers += [fast, slow]
    for piece in (b"a", b"b"):
        answer.on_data(piece)
    fast.at, slow.at = 2, 1
    answer.drop_taken()
    assert answer.chunks == [b"a", b"b"]  # it may still be joined
    for piece in (b"c", b"d"):
        answer.on_data(piece)
    assert not answer.joinable
    answer.drop_taken()
    assert answer.chunks == [b"", b"b", b"c", b"d"]
    answer.readers.remove(slow)
    answer.drop_taken()
    assert answer.chunks == [b"", b"", b"c", b"d"]
    answer.readers.clear()
    answer.drop_taken()
    assert answer.chunks[2:] == [b"c", b"d"]


@pytest.mark.parametrize(
    ("failure", "note"),
    [
        (None, b'{"code":"relay_interrupted","retryable":true}'),
        (BadAnswer("x"), b'{"code":"bad_answer","retryable":true}'),
        (MalformedFrame("x"), b'{"code":"malformed_frame","retryable":false}'),
    ],
)
def test_a_note_says_what_broke_and_no_more(failure: BadAnswer | None, note: bytes) -> None:
    assert note_frame(failure) == b"\x7f\0" + len(note).to_bytes(4) + note
