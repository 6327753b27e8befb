"""The judge of a storm sees what must never be: each broken rule is found (SPEC 6, 14)."""

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.audit import Books
from tests.chaos.claims import Judged, Stored
from tests.chaos.faults import AFTERMATH_SECONDS, Fault, FaultLog, Refusal
from tests.chaos.rules import causes, failover_rules, healthy
from tests.chaos.streams import Ask, Post

GOOD = Books(0, 0, [], [], Counter(), Counter(), 1, 10, 0, 0, 0)
NOW = time.monotonic()


def log(*faults: Fault) -> FaultLog:
    names = {"w1": "worker-1", "w2": "worker-2"}
    return FaultLog(list(faults), dict(names), {name: who for who, name in names.items()})


def post(c: str = "c1", **changes: Any) -> Post:
    return replace(Post(NOW, c, ["w1", "w2"], status=200, worker="w1"), **changes)


def failed(**changes: Any) -> Ask:
    ask = Ask(7, "plain", NOW, [post()], ended=NOW + 1, outcome="error", code="relay_interrupted")
    return replace(ask, **changes)


def claim(*judged: Judged, **changes: Any) -> Stored:
    held = Stored("c1", "settled", 1000, 10, "s1", ["w1"], list(judged))
    return replace(held, **changes)


BILL = Judged("s1", "w1", "final", "billed", 10, 500)
KILLED = Fault("kill", "worker-1", NOW, NOW + 0.5)


def broken(
    *, asks: list[Ask], faults: FaultLog, claims: list[Stored], books: Books = GOOD
) -> list[str]:
    stored = {one.c: one for one in claims}
    rules = failover_rules(asks, faults, claims=stored, books=books)
    return [rule.name for rule in rules if not rule.holds]


def test_an_error_of_the_worker_that_was_killed_is_explained() -> None:
    ask = failed(first_at=NOW)
    assert broken(asks=[ask], faults=log(KILLED), claims=[claim(BILL)]) == []
    assert causes(ask, log(KILLED)) == ["kill"]


def test_an_error_while_another_candidate_was_well_is_found() -> None:
    assert healthy(failed(), log(KILLED)) == ["w2"]
    assert broken(asks=[failed()], faults=log(KILLED), claims=[claim(BILL)]) == [
        "no error while a healthy candidate existed"
    ]


def test_an_answer_that_broke_off_at_a_worker_left_in_peace_is_found() -> None:
    other = Fault("kill", "worker-2", NOW)
    assert broken(asks=[failed(first_at=NOW)], faults=log(other), claims=[claim(BILL)]) == [
        "no error while a healthy candidate existed",
        "every error has an injected fault within 2 s before it",
    ]


def test_a_fault_too_long_ago_explains_nothing() -> None:
    old = Fault("kill", "worker-1", NOW - 9, NOW + 1 - AFTERMATH_SECONDS - 0.1)
    assert causes(failed(first_at=NOW), log(old)) == []
    lasting = Fault("stall", "worker-1", NOW - 60)
    assert causes(failed(first_at=NOW), log(lasting)) == ["stall"]


def test_a_fault_of_the_engine_explains_only_its_own_request() -> None:
    mine = failed(kind="crash", first_at=NOW, fault_at=NOW + 0.5, code="engine_failed")
    assert causes(mine, log()) == ["engine: crash"]
    assert causes(replace(mine, fault_at=None), log()) == []


def test_a_full_worker_is_explained_by_others_that_are_away() -> None:
    only = failed(posts=[post(candidates=["w2"])])
    said = log(KILLED)
    assert healthy(only, said) == ["w2"]
    said.refusals.append(Refusal("worker-2", "busy", NOW + 0.9))
    assert healthy(only, said) == []
    assert causes(only, said) == ["kill"]


def test_a_code_that_nobody_registered_is_found() -> None:
    ask = failed(first_at=NOW, code="(no connection)")
    assert broken(asks=[ask], faults=log(KILLED), claims=[claim(BILL)]) == [
        "every error has a code of the registry"
    ]


def test_two_bills_of_one_call_are_found() -> None:
    ask = failed(first_at=NOW, posts=[post("c1", is_problem=True, status=422), post("c2")])
    claims = [claim(BILL), claim(BILL, c="c2")]
    assert broken(asks=[ask], faults=log(KILLED), claims=claims) == ["no request is billed twice"]


def test_a_second_seal_without_a_422_is_found() -> None:
    ask = failed(first_at=NOW, posts=[post("c1"), post("c2")])
    assert broken(asks=[ask], faults=log(KILLED), claims=[claim(BILL)]) == [
        "a request is sealed anew once at most, after a 422 problem+json"
    ]


@pytest.mark.parametrize(
    ("judged", "changes"),
    [
        ([BILL], {"attempts": ["w1", "w2"]}),
        ([BILL, replace(BILL, statement_hash="s2", worker="w2", charge=10)], {}),
        ([replace(BILL, disposition="superseded", charge=0)], {}),
        ([BILL, replace(BILL, statement_hash="s2", disposition="expired", charge=0)], {}),
        ([BILL, replace(BILL, statement_hash="s2", disposition="invalid", charge=0)], {}),
        ([replace(BILL, disposition="superseded")], {"statement_hash": "", "charge": 0}),
        ([BILL], {"state": "open"}),
        ([replace(BILL, charge=9)], {}),
    ],
    ids=["loser", "two", "winner", "in time", "honest", "charged", "open", "other sum"],
)
def test_a_disposition_that_the_settlement_does_not_allow_is_found(
    judged: list[Judged], changes: dict[str, Any]
) -> None:
    found = broken(asks=[], faults=log(), claims=[claim(*judged, **changes)])
    assert "every disposition is as SPEC 6 says" in found


@pytest.mark.parametrize(
    "judged",
    [
        [BILL],
        [BILL, replace(BILL, statement_hash="s0", worker="w0", disposition="superseded", charge=0)],
        [BILL, replace(BILL, statement_hash="s2", disposition="expired", charge=0, at=1001)],
    ],
    ids=["bill", "loser", "late"],
)
def test_dispositions_of_the_settlement_pass(judged: list[Judged]) -> None:
    assert broken(asks=[], faults=log(), claims=[claim(*judged)]) == []


def test_books_that_do_not_come_out_even_are_found() -> None:
    uneven = replace(GOOD, ledger_sum=1)
    assert broken(asks=[], faults=log(), claims=[], books=uneven) == ["the ledger sums to 0"]
