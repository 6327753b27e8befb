"""`make mutants`: remove one defence at a time and demand that its attack succeeds.

First all attacks run on the code as it is, where each must be defeated.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.mutants.mutant import Mutant, Verdict, attack, compile_tree, copy_tree, judge, mutants


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def run(chosen: Sequence[Mutant], jobs: int) -> list[Verdict]:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree, state = Path(folder) / "tree", Path(folder) / "state"
        copy_tree(tree)
        compile_tree(tree)
        names = [one.attack for one in chosen]
        say(f"{len(names)} attacks on the code as it is")
        held = attack(tree, names, state)
        broken = [name for name in names if held.get(name, {}).get("result") != "defeated"]
        if broken:
            return [
                Verdict(name, "nothing", "error", f"without a mutant: {held.get(name)}", 0.0)
                for name in broken
            ]
        say(f"{len(chosen)} mutants, {jobs} at a time")
        return list(judged(chosen, tree, state, jobs))


def judged(chosen: Sequence[Mutant], tree: Path, state: Path, jobs: int) -> list[Verdict]:
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(judge, one, tree=tree, state=state) for one in chosen]
        for task in as_completed(tasks):
            verdicts.append(task.result())
            say(line(verdicts[-1], f"{len(verdicts):3}/{len(chosen)}"))
    return sorted(verdicts, key=lambda one: one.attack)


def line(one: Verdict, number: str) -> str:
    word = "caught" if one.caught else "NOT CAUGHT"
    return f"{number}  {word:10}  {one.attack:42}  {one.seconds:4.0f} s  {one.observed}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("only", nargs="*", help="names of attacks")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    chosen = mutants(arguments.only)
    verdicts = run(chosen, arguments.jobs)
    missed = [one for one in verdicts if not one.caught]
    if arguments.json:
        document = [{**asdict(one), "caught": one.caught} for one in verdicts]
        sys.stdout.write(json.dumps({"mutants": document}) + "\n")
    say(f"{len(verdicts) - len(missed)} of {len(chosen)} mutants caught")
    for one in missed:
        say(f"  not caught: {one.attack} ({one.result}: {one.observed})")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
