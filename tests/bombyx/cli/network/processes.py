"""Runs `bombyx up` as a person's shell would, and looks at what is left of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

SECONDS = 60


def environment(folder: Path) -> dict[str, str]:
    """The test's own, without settings of whoever runs it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BOMBYX_")}
    return {**kept, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "100"}


def command(*arguments: str) -> list[str]:
    """`bombyx ARGUMENTS` under this interpreter."""
    return [sys.executable, "-P", "-m", "bombyx", *arguments]


@contextlib.contextmanager
def up(folder: Path, *flags: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """A scripted network in `folder`, and its document; ended with the block."""
    process = subprocess.Popen(
        command("up", "--engine", "scripted", "--state", str(folder), "--json", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder),
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.send_signal(signal.SIGKILL)


def stop(process: "subprocess.Popen[str]", signum: signal.Signals) -> int:
    """Ask it to stop; its exit code."""
    process.send_signal(signum)
    return process.wait(SECONDS)


def family(pid: int) -> list[psutil.Process]:
    """The process and all that it started, directly or not."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def left(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Those that still run after so long."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
