"""The mutated evidence that other verifiers read: Python comes to what stands beside each case."""

from typing import Any

import pytest

from bombyx.attestation.steps import StepName
from tests.vectors import evidence_cases, make_evidence

STORED = make_evidence.load()
BASE = make_evidence.base_of(STORED)
CASES: list[dict[str, Any]] = STORED["cases"]


def test_the_file_holds_every_case_once() -> None:
    names = [name for name, _ in evidence_cases.offers()]
    names += [name for name, _ in evidence_cases.policies()]
    # Where this fails, cases were added: `python -m tests.vectors.make_evidence` makes the file.
    assert [case["name"] for case in CASES] == names
    assert len(set(names)) == len(names)


def test_every_step_that_can_fail_fails_in_some_case() -> None:
    silent = {
        StepName.PLATFORM_IDENTITY,
        StepName.GPU_EVIDENCE,
        StepName.GPU_BINDING,
        StepName.PHYSICAL_ATTACK_RESISTANCE,
    }
    expected = {case["expected"] for case in CASES}
    assert expected == {*map(str, set(StepName) - silent), make_evidence.VERIFIED}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_case_comes_to_its_result(case: dict[str, Any]) -> None:
    assert make_evidence.result_of(BASE, case) == case["expected"]


def test_every_bit_of_the_sweep_comes_to_its_result() -> None:
    for at, bit, expected in STORED["sweeps"]["quote"]:
        case = make_evidence.flipped_quote(BASE, at, bit)
        assert make_evidence.result_of(BASE, case) == expected != make_evidence.VERIFIED


def test_every_character_of_the_sweep_comes_to_its_result() -> None:
    for field, at, to, expected in STORED["sweeps"]["collateral"]:
        case = make_evidence.altered_text(BASE, field, at, to)
        assert make_evidence.result_of(BASE, case) == expected


def test_the_worker_that_tests_can_answer_as_is_honest() -> None:
    worker = {key: STORED["worker"][key] for key in ("keyset", "evidence")}
    assert make_evidence.result_of(BASE, worker) == make_evidence.VERIFIED
