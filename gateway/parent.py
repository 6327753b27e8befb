"""Stopping with the process that started us, however it ends (Linux)."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(expected: int | None = None) -> None:
    """Ask the kernel for SIGTERM when the parent dies; leave at once if it is dead already.

    `expected` is the parent's process id, where that is known: it may be 1 in a container.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid() if expected is None else expected
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent or (parent == 1 and expected is None):
        raise SystemExit(0)
