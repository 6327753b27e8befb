"""Every guard of the contract has a mutant that removes it, and each of them still compiles."""

import re
from pathlib import Path

import pytest

from tests.mutants.contract.mutant import CONTRACT, copy_sources, mutants
from tests.mutants.mutant import Mutant, apply
from ton.contracts import FOLDER
from ton.contracts.build import CONTRACTS

SOURCE = f"ton/contracts/{CONTRACT}.tolk"


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.attack)
def test_a_patch_applies_to_the_contract_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    folder = copy_sources(tmp_path)
    assert mutant.files == [SOURCE]
    before = (folder / f"{CONTRACT}.tolk").read_bytes()
    assert apply(mutant, tmp_path) == ""
    assert (folder / f"{CONTRACT}.tolk").read_bytes() != before
    assert mutant.removes.endswith(".")


def test_every_assertion_of_the_contract_is_removed_by_some_mutant() -> None:
    text = (FOLDER / f"{CONTRACT}.tolk").read_text(encoding="utf-8")
    guards = re.findall(r"^ *assert .*;$", text, re.MULTILINE)
    removed: list[str] = []
    for mutant in mutants():
        lines = mutant.patch.read_text(encoding="utf-8").splitlines()
        removed += [line[1:] for line in lines if line.startswith("-") and line[:4] != "--- "]
    assert len(guards) > 20
    assert [guard for guard in set(guards) if removed.count(guard) < guards.count(guard)] == []
    assert list(CONTRACTS) == [CONTRACT]
