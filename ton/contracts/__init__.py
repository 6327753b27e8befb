"""The contracts as they are deployed: compiled code, committed beside its sources.

`make contracts` writes the artefacts; tests compile anew and compare, and pin the hash.
"""

import json
from base64 import b64decode
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytoniq_core import Cell

from ton.codec.cells import parse_boc

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Artefact:
    """A compiled contract: its code, the code's hash in hex and the compiler that made it."""

    code: Cell
    code_hash: str
    compiler: str


@cache
def artefact(name: str) -> Artefact:
    """A committed artefact by its name, as `payment_channel`."""
    document = json.loads((FOLDER / f"{name}.json").read_bytes())
    return Artefact(
        parse_boc(b64decode(document["code_boc"])), document["code_hash"], document["compiler"]
    )


def payment_channel() -> Cell:
    """The code of every payment channel of this version."""
    return artefact("payment_channel").code
