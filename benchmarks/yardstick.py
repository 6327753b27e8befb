"""What this machine and interpreter do in one turn of a fixed loop: JSON, SHA-256, Ed25519, calls.

Shared machines vary by half from one minute to the next, and an interpreter built without profile
guidance is a third slower: numbers of different runs compare only when divided by this one. Run
beside a measured process, on its CPU and in the same seconds, it takes most of that noise away.

    python -m benchmarks.yardstick      (each line of stdin: what a turn took since the last one)
"""

import hashlib
import json
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nacl.signing import SigningKey

from benchmarks.processes import started

REPEATS = 15
TURNS = 200
FEW_TURNS, REST_SECONDS = 10, 0.01
"""Of the one beside: a tenth of a CPU, so that it hardly disturbs what it measures."""
_KEY = SigningKey(bytes(32))
_DOCUMENT = {f"field{number}": "v" * 64 for number in range(20)}


def measure() -> dict[str, Any]:
    """The median in microseconds a turn."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time_ns()
        for _ in range(TURNS):
            _turn()
        times.append(time.process_time_ns() - start)
    us = statistics.median(times) / TURNS / 1000
    return {"case": "yardstick", "us_cpu": round(us, 1), "unit": "turn"}


def _turn() -> None:
    text = json.dumps(json.loads(json.dumps(_DOCUMENT))).encode()
    _KEY.sign(hashlib.sha256(text * 3).digest())
    table: dict[int, tuple[int, list[int]]] = {}
    for number in range(100):
        table[number & 15] = (number, [number, *range(3)])


class Beside:
    """A yardstick that runs while something else is measured on its CPU."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def turn_us(self) -> float:
        """CPU of one turn in microseconds since this was asked last, or since the start."""
        if self._child.stdin is None or self._child.stdout is None:
            raise SystemExit("the yardstick has no pipes")
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        return float(self._child.stdout.readline())


@contextmanager
def beside(cpu: int) -> Iterator[Beside]:
    """Run one there."""
    with started([sys.executable, "-m", "benchmarks.yardstick"], cpu=cpu) as child:
        yield Beside(child)


def _answer() -> None:
    """A few turns and a rest, again and again, until stdin ends."""
    spent, turns = 0, 0
    while True:
        start = time.process_time_ns()
        for _ in range(FEW_TURNS):
            _turn()
        spent, turns = spent + time.process_time_ns() - start, turns + FEW_TURNS
        if select.select([sys.stdin], [], [], REST_SECONDS)[0]:
            if not sys.stdin.readline():
                return
            print(spent / turns / 1000, flush=True)
            spent, turns = 0, 0


if __name__ == "__main__":
    _answer()
