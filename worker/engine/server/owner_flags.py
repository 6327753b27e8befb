"""Flags of a server that its owner may add: those of an allow-list, and nothing that is set here.

A deny-list would miss the next release's way to log prompts or to run a model's code.
"""

import re
from collections.abc import Sequence

from bombyx.errors import SetupError
from worker.engine.server.plan import Brand

_VALUE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def check_flags(brand: Brand, flags: Sequence[str]) -> tuple[str, ...]:
    """The flags as they are passed on, `--name value` or `--name=value`; raises `SetupError`."""
    words = [part for word in flags for part in word.split("=", 1)]
    rest = list(words)
    while rest:
        name = rest.pop(0)
        if name in brand.switches:
            continue
        if name not in brand.flags:
            raise SetupError(
                f"{brand.name} may not be given {name}: known are "
                + ", ".join(sorted(brand.flags | brand.switches))
            )
        if not rest or _VALUE.fullmatch(rest[0]) is None or rest[0].startswith("-"):
            raise SetupError(f"{name} needs a value")
        rest.pop(0)
    return tuple(words)
