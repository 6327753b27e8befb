"""Signals that ask us to stop, told apart from failures."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt the block as Ctrl-C does; the clean-up itself is not cut short.

    Only the first signal interrupts: the stop that it begins has time limits of its own.
    """
    before = {signum: signal.signal(signum, _interrupt) for signum in _STOPPING}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM interrupts the block, so that what it leaves is tidy; SIGINT does so by itself."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    for signum in _STOPPING:
        signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt
