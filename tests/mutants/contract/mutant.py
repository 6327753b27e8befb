"""One mutant of the contract: a patch that removes one guard, compiled and walked over."""

import shutil
import tempfile
import time
from base64 import b64decode
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.mutants.mutant import ROOT, Mutant, Verdict, apply
from tests.ton.walk import Violation, Walk
from ton.codec.cells import parse_boc
from ton.contracts import FOLDER
from ton.contracts.build import DoesNotCompile, compile_contract
from ton.tvm.emulator import Emulator, default_config
from ton.tvm.machine import Tvm
from ton.tvm.network import network_config

PATCHES = Path(__file__).parent
CONTRACT = "payment_channel"
LIMIT = 2_000
"""Transactions within which the walk must notice."""
SEED = 1


def mutants(only: Sequence[str] = ()) -> list[Mutant]:
    found = [Mutant(path) for path in sorted(PATCHES.glob("*.patch"))]
    return [one for one in found if not only or one.attack in only]


def copy_sources(tree: Path) -> Path:
    """The contract's sources, at their place below a tree."""
    folder = tree / FOLDER.relative_to(ROOT)
    folder.mkdir(parents=True)
    for path in FOLDER.glob("*.tolk"):
        shutil.copy(path, folder)
    return folder


@cache
def machine() -> Emulator:
    """One for each process."""
    return Emulator(network_config(default_config()))


def judge(mutant: Mutant) -> Verdict:
    """Compile the mutant and walk until a rule is broken."""
    began = time.monotonic()
    result, observed = _walk(mutant, machine())
    return Verdict(mutant.attack, mutant.removes, result, observed, time.monotonic() - began)


def _walk(mutant: Mutant, tvm: Tvm) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        sources = copy_sources(Path(folder))
        if complaint := apply(mutant, Path(folder)):
            return "error", f"the patch does not apply: {complaint}"
        try:
            made = compile_contract(CONTRACT, sources)
        except DoesNotCompile as complaint:
            return "error", f"the mutant does not compile: {complaint}"
    walk = Walk(tvm, parse_boc(b64decode(made["code_boc"])), SEED)
    try:
        walk.run(LIMIT)
    except Violation as violation:
        return "succeeded", f"{walk.transactions} transactions: {violation}"
    return "defeated", f"{walk.transactions} transactions and nothing seen"
