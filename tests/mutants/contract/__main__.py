"""The contract's part of `make mutants`: remove one guard at a time, and the walk must notice.

First the walk goes over the contract as it is, where it must find nothing.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

from tests.mutants.__main__ import line, say
from tests.mutants.contract.mutant import LIMIT, SEED, judge, machine, mutants
from tests.mutants.mutant import Mutant, Verdict
from tests.ton.walk import Violation, Walk
from ton.contracts import payment_channel


def complaint() -> str:
    """What the walk says of the contract as it is: nothing."""
    try:
        Walk(machine(), payment_channel(), SEED).run(LIMIT)
    except Violation as violation:
        return str(violation)
    return ""


def verdicts(chosen: Sequence[Mutant], jobs: int) -> Iterator[Verdict]:
    """Mutants in a few processes, none of which inherits a running V8."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(judge, chosen)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("only", nargs="*", help="names of mutants")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    if broken := complaint():
        say(f"without a mutant: {broken}")
        return 1
    chosen = mutants(arguments.only)
    say(f"{len(chosen)} mutants of the contract, {arguments.jobs} at a time")
    found = []
    for verdict in verdicts(chosen, arguments.jobs):
        found.append(verdict)
        say(line(verdict, f"{len(found):3}/{len(chosen)}")[:160])
    caught = sum(one.caught for one in found)
    if arguments.json:
        document = [{**asdict(one), "caught": one.caught} for one in found]
        sys.stdout.write(json.dumps({"mutants": document}) + "\n")
    say(f"{caught} of {len(chosen)} mutants of the contract caught")
    return 0 if chosen and caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
