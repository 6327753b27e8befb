"""Small processes that stand in for roles: they say a line and then do as they are told."""

import sys
import time
from pathlib import Path

from bombyx.cli.network.child import Recipe

READY = "import sys, time; print('{\"ok\": 1}', flush=True)\n"
STAY = "time.sleep(60)\n"


def recipe(
    folder: Path, name: str, code: str, *, ready_seconds: float = 30.0, stop_seconds: float = 10.0
) -> Recipe:
    """A recipe whose process runs `code`."""
    return Recipe(
        name,
        (sys.executable, "-c", code),
        folder / f"{name}.log",
        ready_seconds=ready_seconds,
        stop_seconds=stop_seconds,
    )


def eventually_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has); waits up to 3 seconds for it."""
    for _ in range(150):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
