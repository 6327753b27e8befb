"""Commands of the network's roles that run once and answer with one document."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bombyx.cli.network.child import Child, Recipe, bombyx
from bombyx.cli.network.fetching import Watch
from bombyx.cli.network.supervisor import TURN_SECONDS, describe_exit, failure
from bombyx.errors import SetupError

ERRAND_SECONDS = 60.0


def run_errand(
    arguments: Sequence[str],
    *,
    log: Path,
    seconds: float = ERRAND_SECONDS,
    temporary: Path | None = None,
    watch: Watch = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run `bombyx ARGUMENTS --json`; its document. Raises `SetupError` with its own reason.

    `watch` is called while it runs.
    """
    name = " ".join(["bombyx", *arguments[:2]])
    recipe = Recipe(
        name,
        bombyx(*arguments, "--json"),
        log,
        ready_seconds=seconds,
        temporary=temporary,
        environment=environment or {},
    )
    child = Child(recipe)
    try:
        return _document(child, recipe, watch)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # itself, unless it ended, and what it started
        child.wait()


def _document(child: Child, recipe: Recipe, watch: Watch) -> dict[str, Any]:
    deadline = time.monotonic() + recipe.ready_seconds
    while (code := child.exit_code()) is None:
        child.listen()
        watch()
        if time.monotonic() > deadline:
            raise failure(recipe, f"took longer than {recipe.ready_seconds:.0f} s")
        time.sleep(TURN_SECONDS)
    child.listen()
    if child.refusal():
        raise SetupError(f"{recipe.name}: {child.refusal()}")
    if code or child.ready is None:
        raise failure(recipe, f"ended with {describe_exit(code)}")
    return child.ready
