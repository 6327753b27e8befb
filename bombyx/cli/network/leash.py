"""The child's side of `bombyx up`: a command that ends when the process that started it does.

`python -m bombyx.cli.network.leash PARENT ARGUMENTS...` runs `bombyx ARGUMENTS...`. On Linux the
kernel sends SIGKILL when the parent dies, however it dies; everywhere the end of stdin, a pipe that
only the parent holds, says the same.
"""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def tie(parent: int) -> None:
    """Let this process die with `parent`, which must be what started it and hold its stdin."""
    threading.Thread(target=_leave_with_stdin, name="leash", daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def _leave_with_stdin() -> None:
    try:
        while os.read(0, 1):
            pass
    except OSError:
        return
    os._exit(1)


def main() -> int:
    """Run one command line on the leash; returns its exit code."""
    tie(int(sys.argv[1]))
    # Ctrl-C is for the parent, which then stops its children in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from bombyx.cli.main import main as bombyx  # noqa: PLC0415 - tied first, then loaded

    return bombyx(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
