"""Starting the measured processes, pinning them, and reading their CPU time."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil


@contextlib.contextmanager
def started(command: list[str], *, cpu: int, quiet: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A child pinned to one CPU, killed at the end; its stdin and stdout are pipes."""
    cpus = sorted(os.sched_getaffinity(0))
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
    )
    psutil.Process(child.pid).cpu_affinity([cpus[cpu % len(cpus)]])
    try:
        yield child
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20)
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def read_json(child: subprocess.Popen[str]) -> dict[str, Any]:
    """The child's next line."""
    line = child.stdout.readline() if child.stdout is not None else ""
    if not line:
        raise SystemExit(f"{child.args!r} said nothing")
    document: dict[str, Any] = json.loads(line)
    return document


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


def bombyx(*arguments: str) -> list[str]:
    """Our own command line in this interpreter."""
    return [sys.executable, "-m", "bombyx", *arguments]
