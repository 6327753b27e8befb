"""SPEC 6.1, 6.2, 6.6 to 6.8: which statement settles a claim."""

from typing import Any

import msgspec
import pytest

from bombyx.money.offer import Prices
from bombyx.money.settlement import (
    InvalidStatement,
    Outcome,
    Passed,
    Verdict,
    check_statement,
    judge,
)
from bombyx.money.statement import Statement, Status, TokenCounts
from bombyx.units import Nano
from tests.factories import attempt, claim, hex_of, statement, worker

A, B = worker(), worker("other")
FIRST, SECOND = attempt(A), attempt(B, number=2, ticket=b"second".hex())
TWO = claim(attempts=(FIRST, SECOND))
DEADLINE = claim().deadline_ms


def tokens(prompt: int = 100, cached: int = 64, completion: int = 50, reasoning: int = 10) -> Any:
    return TokenCounts(prompt=prompt, cached=cached, completion=completion, reasoning=reasoning)


def from_b(**changes: Any) -> Statement:
    return statement(B, ticket=SECOND.ticket, **changes)


def reason_of(document: Statement, **known: Any) -> str:
    with pytest.raises(InvalidStatement) as caught:
        check_statement(document, claim(), **{"passed": None} | known)
    assert caught.value.reason in caught.value.message
    return caught.value.reason


def test_a_valid_statement_is_of_its_attempt() -> None:
    assert check_statement(statement(), claim(), passed=None) == FIRST
    seen = Passed(hex_of("resp"), 4096)
    assert check_statement(statement(), claim(), passed=seen) == FIRST
    assert check_statement(from_b(), TWO, passed=None) == SECOND


@pytest.mark.spec("6.1-a")
@pytest.mark.parametrize(
    "field",
    [
        "c",
        "h",
        "id",
        "payer",
        "gateway",
        "tier",
        "model",
        "fee_bps",
        "req_ct_hash",
        "offer",
        "prices",
        "weights",
        "engine",
    ],
)
def test_each_fixed_field_must_be_the_claims_or_the_attempts(field: str) -> None:
    others: dict[str, Any] = {
        "tier": "bare",
        "fee_bps": 251,
        "prices": Prices(prompt="1", cached="1", completion="1", reasoning="1"),
    }
    assert reason_of(statement(**{field: others.get(field, hex_of("other"))})) == field


@pytest.mark.parametrize("changes", [{"worker": B.id}, {"ticket": "00"}])
def test_a_statement_of_no_attempt_is_invalid(changes: dict[str, Any]) -> None:
    assert reason_of(statement(**changes)) == "worker_or_ticket"
    with pytest.raises(InvalidStatement):
        check_statement(statement(), claim(attempts=()), passed=None)


@pytest.mark.spec("6.1-a")
def test_a_ticket_of_another_attempt_is_invalid() -> None:
    with pytest.raises(InvalidStatement, match="worker_or_ticket"):
        check_statement(statement(A, ticket=SECOND.ticket), TWO, passed=None)


def test_wrong_arithmetic_is_invalid() -> None:
    assert reason_of(statement(charge_nano="1")) == "arithmetic"


@pytest.mark.spec("2.6-d", "6.1-a")
def test_the_caps_of_the_header_hold() -> None:
    assert reason_of(statement(tokens=tokens(prompt=129))) == "max_input_tokens"
    assert reason_of(statement(tokens=tokens(completion=257))) == "max_output_tokens"
    check_statement(statement(tokens=tokens(prompt=128, completion=256)), claim(), passed=None)
    charge = int(statement().charge_nano)
    check_statement(statement(), claim(reserve=charge), passed=None)
    with pytest.raises(InvalidStatement, match="max_cost_nano"):
        check_statement(statement(), claim(reserve=charge - 1), passed=None)


@pytest.mark.spec("6.1-a")
@pytest.mark.parametrize("passed", [Passed(hex_of("resp"), 4095), Passed(hex_of("x"), 4096)])
def test_what_this_process_relayed_must_be_what_was_signed(passed: Passed) -> None:
    assert reason_of(statement(), passed=passed) == "resp_ct_hash"


@pytest.mark.spec("6.1-a")
@pytest.mark.parametrize("field", ["prompt", "cached", "completion", "reasoning"])
def test_no_counter_falls(field: str) -> None:
    held = statement(seq=3, status=Status.PARTIAL)
    check_statement(statement(seq=4), claim(), passed=None, held=held)
    less = msgspec.structs.replace(tokens(), **{field: getattr(tokens(), field) - 1})
    assert reason_of(statement(seq=4, tokens=less), held=held) == "tokens"


@pytest.mark.spec("6.1-a")
@pytest.mark.parametrize("seq", [2, 3])
def test_seq_rises(seq: int) -> None:
    held = statement(seq=3, status=Status.PARTIAL)
    assert reason_of(statement(seq=seq), held=held) == "seq"


def test_what_is_held_of_another_worker_binds_nobody() -> None:
    held = statement(A, seq=9, tokens=tokens(completion=200))
    assert check_statement(from_b(seq=1), TWO, passed=None, held=held) == SECOND


def charged(document: Statement) -> Verdict:
    return Verdict(Outcome.BILLED, Nano(int(document.charge_nano)))


@pytest.mark.parametrize("status", [Status.FINAL, Status.ABORTED])
def test_the_winners_terminal_statement_is_billed_as_signed(status: Status) -> None:
    document = statement(status=status)
    verdict = judge(document, claim(), attempt=FIRST, now_ms=DEADLINE)
    assert verdict == charged(document)


@pytest.mark.spec("6.6-a")
def test_the_last_attempt_wins_and_earlier_ones_are_superseded() -> None:
    assert judge(statement(), TWO, attempt=FIRST, now_ms=0) == Verdict(Outcome.SUPERSEDED)
    assert judge(from_b(), TWO, attempt=SECOND, now_ms=0) == charged(from_b())
    assert claim(attempts=()).winner is None


@pytest.mark.spec("6.7-b")
def test_after_the_deadline_a_statement_has_expired() -> None:
    late = judge(statement(), claim(), attempt=FIRST, now_ms=DEADLINE + 1)
    assert late == Verdict(Outcome.EXPIRED)


def test_a_partial_settles_nothing() -> None:
    with pytest.raises(ValueError, match="partial"):
        judge(statement(status=Status.PARTIAL), claim(), attempt=FIRST, now_ms=0)
