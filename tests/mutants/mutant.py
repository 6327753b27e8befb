"""One mutant: a patch that removes one defence, and the attack that must then succeed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent
PACKAGES = ("bombyx", "gateway", "worker", "migrations")
RUN_SECONDS = 180
FRESH_STATE = frozenset({"state_files_read"})
"""Attacks on what is made when a network starts for the first time."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A patch file named after its attack; what precedes the diff says what it removes."""

    patch: Path

    @property
    def attack(self) -> str:
        return self.patch.stem

    @property
    def removes(self) -> str:
        return self.patch.read_text(encoding="utf-8").partition("\n--- ")[0].strip()

    @property
    def files(self) -> list[str]:
        return list(self.hunks())

    def hunks(self) -> dict[str, list[tuple[str, str]]]:
        """By file, the lines to be replaced and what replaces them."""
        found: dict[str, list[tuple[str, str]]] = {}
        for line in self.patch.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.startswith("--- a/"):
                hunks = found.setdefault(line.removeprefix("--- a/").strip(), [])
            elif line.startswith("@@"):
                hunks.append(("", ""))
            elif found and hunks and line[0] in " -+" and not line.startswith("+++ "):
                old, new = hunks[-1]
                hunks[-1] = (old + line[1:] * (line[0] != "+"), new + line[1:] * (line[0] != "-"))
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the attack ended on the mutant; `caught` only if it succeeded."""

    attack: str
    removes: str
    result: str
    observed: str
    seconds: float

    @property
    def caught(self) -> bool:
        return self.result == "succeeded"


def mutants(only: Sequence[str] = ()) -> list[Mutant]:
    found = [Mutant(path) for path in sorted(PATCHES.glob("*.patch"))]
    return [one for one in found if not only or one.attack in only]


def sources() -> list[Path]:
    """What git has or would take of the packages, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PACKAGES]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = sorted({Path(name) for name in listing.split("\0") if name})
    return [path for path in paths if (ROOT / path).is_file()]


def copy_tree(target: Path, files: Sequence[Path] | None = None) -> None:
    for path in sources() if files is None else files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path)


def apply(mutant: Mutant, tree: Path) -> str:
    """Patch a tree; the complaint where the patch does not apply, or nothing.

    Not `git apply`: the lines that a hunk replaces must occur once in the file, wherever that is,
    so that patches hardly need lines around them and survive changes nearby.
    """
    for name, hunks in mutant.hunks().items():
        path = tree / name
        text = "\n" + path.read_text(encoding="utf-8")
        for old, new in hunks:
            if (found := text.count("\n" + old)) != 1:
                return f"{name}: {found} places match {old.strip().splitlines()[:1]}"
            text = text.replace("\n" + old, "\n" + new)
        path.write_text(text[1:], encoding="utf-8")
    return ""


def compile_tree(tree: Path) -> None:
    """Once for all: each process of each network would do it again."""
    command = [sys.executable, "-m", "compileall", "-q", str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def attack(tree: Path, names: Sequence[str], state: Path) -> dict[str, dict[str, str]]:
    """Run attacks on a tree; their entries by name, empty where it did not come so far."""
    only = [part for name in names for part in ("--only", name)]
    command = [sys.executable, "-P", "-m", "bombyx", "attack", *only, "--json"]
    done = subprocess.run(
        [*command, "--state", str(state)],
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS,
    )
    try:
        report = json.loads(done.stdout.splitlines()[-1])["attacks"]
    except (IndexError, KeyError, ValueError):
        sentence = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {name: {"result": "error", "observed": sentence} for name in names}
    return {entry["name"]: entry for entry in report}


def judge(mutant: Mutant, *, tree: Path, state: Path) -> Verdict:
    """Run one mutant on copies of a compiled tree and of a network's state."""
    began = time.monotonic()

    def verdict(result: str, observed: str) -> Verdict:
        seconds = time.monotonic() - began
        return Verdict(mutant.attack, mutant.removes, result, observed, seconds)

    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        own, own_state = Path(folder) / "tree", Path(folder) / "state"
        shutil.copytree(tree, own)
        if mutant.attack not in FRESH_STATE:
            sockets = shutil.ignore_patterns("*.sock")  # of workers that ran there
            shutil.copytree(state, own_state, symlinks=True, ignore=sockets)
        if complaint := apply(mutant, own):
            return verdict("error", f"the patch does not apply: {complaint}")
        entry = attack(own, [mutant.attack], own_state).get(mutant.attack)
        if entry is None:
            return verdict("error", "the attack was not run")
        return verdict(entry["result"], entry["observed"])
