"""A progress bar while a worker fetches the embedded model, read off the growing files."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

MODEL_BYTES = 98_362_432
"""SmolLM2-135M-Instruct as it is fetched, nearly: only the bar depends on it."""

Watch = Callable[[], None]


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """A function that shows how much lies in `folder` by now; the folder is gone afterwards.

    Shown on stderr, and only on a terminal.
    """
    from rich.console import Console  # noqa: PLC0415 - only where there is something to show
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn  # noqa: PLC0415

    folder.mkdir(exist_ok=True)
    console = Console(stderr=True)
    columns = (TextColumn("fetching the model"), BarColumn(), DownloadColumn())
    try:
        with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("", total=MODEL_BYTES)
            yield lambda: progress.update(task, completed=size_of(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes of all files below; files may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return min(total, MODEL_BYTES)
