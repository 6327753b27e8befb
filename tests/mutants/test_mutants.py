"""Each mutant's patch applies, removes something, and is named after an attack."""

from pathlib import Path

import pytest

from bombyx.attack.run import all_attacks
from tests.mutants.mutant import PACKAGES, Mutant, Verdict, apply, copy_tree, mutants

FEWEST = 25
FEWEST_DEFENCES = 12


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.attack)
def test_a_patch_applies_to_the_code_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    copy_tree(tmp_path, [Path(name) for name in mutant.files])
    before = {name: (tmp_path / name).read_bytes() for name in mutant.files}
    assert apply(mutant, tmp_path) == ""
    assert all((tmp_path / name).read_bytes() != data for name, data in before.items())


def test_every_mutant_is_named_after_an_attack_and_says_what_it_removes() -> None:
    found = mutants()
    attacks = {one.name: one for one in all_attacks()}
    assert [one.attack for one in found if one.attack not in attacks] == []
    assert [one.attack for one in found if not one.removes.endswith(".")] == []
    assert len(found) >= FEWEST
    assert len({attacks[one.attack].defence for one in found}) >= FEWEST_DEFENCES


def test_mutants_change_the_software_and_nothing_else() -> None:
    changed = {name for one in mutants() for name in one.files}
    assert {name.partition("/")[0] for name in changed} <= set(PACKAGES)
    assert [name for name in changed if name.startswith("bombyx/attack/")] == []


def test_a_patch_that_does_not_apply_says_so(tmp_path: Path) -> None:
    (mutant, *_) = mutants()
    for name in mutant.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("something else\n")
    assert apply(mutant, tmp_path) != ""


def test_a_mutant_is_caught_only_by_an_attack_that_succeeds() -> None:
    assert Verdict("a", "b", "succeeded", "", 0.0).caught
    assert not Verdict("a", "b", "defeated", "", 0.0).caught
    assert not Verdict("a", "b", "error", "", 0.0).caught
