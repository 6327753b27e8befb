"""What this machine and interpreter do in one turn of a fixed loop: JSON, SHA-256, Ed25519, calls.

Shared machines vary by half from one minute to the next, and an interpreter built without profile
guidance is a third slower: numbers of different runs compare only when divided by this one.
"""

import hashlib
import json
import statistics
import time
from typing import Any

from nacl.signing import SigningKey

REPEATS = 15
TURNS = 200
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
