"""What an owner is told of hours: sums that outlive a restart, bounded, without content."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bombyx.control.document import KEPT_DAYS
from bombyx.money.statement import Statement, TokenCounts
from tests.worker.ledger.samples import make_receipt, make_scribe
from worker.ledger.hours import MAX_CODES, MAX_MODELS, OTHER, Hours
from worker.ledger.journal import Journal

HOUR = 3_600_000
NOON = 20_000 * 24 * HOUR + 12 * HOUR
"""Of some day, in unix milliseconds."""


def statement(at: int = NOON, model: str = "m", **tokens: int) -> Statement:
    counts = TokenCounts(**{"prompt": 10, "cached": 4, "completion": 5, "reasoning": 1, **tokens})
    given: dict[str, Any] = {"at": at, "model": model, "tokens": counts, "amount_nano": "7"}
    return msgspec.structs.replace(make_receipt(make_scribe()).statement, **given)


def test_requests_tokens_earnings_and_time_add_up_by_hour_and_model() -> None:
    hours = Hours()
    for at, model in ((NOON, "a"), (NOON + 1, "a"), (NOON + 1, "b"), (NOON + HOUR, "a")):
        hours.served(statement(at, model))
        hours.busy(model, 1500, at=at)
    hours.refused("a", "busy", at=NOON)
    hours.refused("", "bad_header", at=NOON)
    told = [
        (one.start * 1000 - NOON, one.model, one.requests, one.earned_nano, one.busy_ms)
        for one in hours.by_hour(at=NOON + HOUR)
    ]
    assert told == [
        (0, "", 0, "0", 0),
        (0, "a", 2, "14", 3000),
        (0, "b", 1, "7", 1500),
        (HOUR, "a", 1, "7", 1500),
    ]
    nameless, first, *_ = hours.by_hour(at=NOON)
    assert nameless.refused == {"bad_header": 1}
    assert (first.prompt, first.cached, first.completion, first.reasoning) == (20, 8, 10, 2)
    assert first.refused == {"busy": 1}
    assert [(one.model, one.requests, one.earned_nano) for one in hours.by_day()] == [
        ("", 0, "0"),
        ("a", 3, "21"),
        ("b", 1, "7"),
    ]


def test_only_two_days_are_told_by_hour() -> None:
    hours = Hours()
    for back in (0, 47, 48):
        hours.served(statement(NOON - back * HOUR))
    assert len(hours.by_hour(at=NOON)) == 2
    assert sum(one.requests for one in hours.by_day()) == 3


def test_ninety_days_are_kept_and_a_day_far_ahead_costs_none_of_the_others_but_one() -> None:
    hours = Hours()
    for day in range(KEPT_DAYS):
        hours.served(statement(NOON - day * 24 * HOUR))
    assert len(hours.notes()) == KEPT_DAYS
    hours.served(statement(NOON + 9999 * 24 * HOUR))
    notes = hours.notes()
    assert list(notes.values()).count(None) == 1
    assert len({one.start for one in hours.by_day()}) == KEPT_DAYS


def test_what_changed_is_told_once_and_again_where_it_could_not_be_written() -> None:
    hours = Hours()
    assert (hours.is_changed, hours.notes()) == (False, {})
    hours.served(statement())
    names = hours.notes()
    assert list(names) == ["hours/20000"]
    assert not hours.is_changed
    hours.put_back(names)
    assert list(hours.notes()) == ["hours/20000"]


def test_models_and_codes_of_an_hour_are_bounded() -> None:
    hours = Hours()
    for number in range(MAX_MODELS + 9):
        hours.served(statement(model=f"m{number}"))
        hours.refused("m0", f"code{number}", at=NOON)
    told = {one.model: one for one in hours.by_hour(at=NOON)}
    assert (len(told), told[OTHER].requests) == (MAX_MODELS + 1, 9)
    assert len(told["m0"].refused) == MAX_CODES + 1
    assert sum(told["m0"].refused.values()) == MAX_MODELS + 9


@pytest.mark.parametrize("text", ["", "{}", '[["x"]]', "[[1,2]]"])
def test_a_note_that_cannot_be_read_is_passed_over(text: str) -> None:
    hours = Hours.read({"hours/20000": text, "hours/x": "[]"})
    assert hours.by_day() == []


async def test_the_journal_counts_what_it_keeps_and_knows_it_after_a_restart(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path)
    kept = make_receipt(make_scribe())
    await journal.keep(kept, b"document")
    journal.hours.refused("m", "busy", at=kept.statement.at)
    before = journal.hours.by_day()
    await journal.close()
    assert b"busy" not in path.read_bytes()
    journal = await Journal.open(path)
    assert journal.hours.by_day() == before
    assert sum(one.requests for one in before) == 1
    assert sum(int(one.earned_nano) for one in before) == int(kept.statement.amount_nano)
    await journal.close()


async def test_counts_are_written_while_it_runs_and_not_more_often_than_that(
    tmp_path: Path,
) -> None:
    journal = await Journal.open(tmp_path / "journal.db")
    journal.hours.refused("m", "busy", at=NOON)
    journal.remember_hours()
    assert journal._remembering is not None
    await journal._remembering
    assert not journal.hours.is_changed
    journal.hours.refused("m", "busy", at=NOON)
    journal.remember_hours()
    assert journal.hours.is_changed
    await journal.close()
