"""Dying with the parent (Linux): a worker that `bombyx up` started must not outlive it."""

import ctypes
import os
import signal
import sys

from bombyx.errors import SetupError

_PR_SET_PDEATHSIG = 1


def tie_to_parent() -> None:
    """Ask the kernel for SIGKILL when the parent dies; the journal is made for it.

    Raises `SetupError` where the kernel cannot, and when the parent is gone already.
    """
    if sys.platform != "linux":
        raise SetupError("--die-with-parent needs Linux")
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise SetupError("the kernel refuses to tie this process to its parent")
    if os.getppid() != parent:
        raise SetupError("the parent process is gone")
