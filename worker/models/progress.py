"""A bar on stderr for what takes long; with `--json`, and into files, nothing but sentences."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bombyx.cli.output import Output
from worker.models.hashing import Advance
from worker.models.pull import Reporter


@contextlib.contextmanager
def reporting(output: Output) -> Iterator[Reporter]:
    """A reporter whose bars end with the block."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def begin(what: str, total: int) -> Advance:
            task = bars.add_task(what, total=total)
            return lambda count: bars.update(task, advance=count)

        yield Reporter(output.say, begin)
