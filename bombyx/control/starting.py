"""Whether a worker of this machine is about to serve: a file that its process holds locked.

A large model is read and loaded for many minutes before there is a socket to ask. The system drops
the lock when the process dies, however it dies, so that what was killed does not seem to start.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

STARTING = "worker-starting"
_OWNER_ONLY = 0o600

if sys.platform == "win32":  # pragma: no cover - no worker runs there; its tools load

    def _lock(descriptor: int, *, alone: bool) -> None:
        """Nobody is told there."""

else:
    import fcntl

    def _lock(descriptor: int, *, alone: bool) -> None:
        """Raises `BlockingIOError` while another holds it."""
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[Callable[[], None]]:
    """This process starts, until the block ends or what it gives is called.

    Where the file cannot be made nobody is told, and nothing else depends on it.
    """
    path = folder / STARTING
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
            held.callback(os.close, descriptor)
            held.callback(path.unlink, missing_ok=True)
            _lock(descriptor, alone=True)
        yield held.close


def is_starting(folder: Path) -> bool:
    """Whether the worker of this state folder starts just now."""
    try:
        descriptor = os.open(folder / STARTING, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock(descriptor, alone=False)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
