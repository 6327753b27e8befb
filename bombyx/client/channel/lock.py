"""One process per channel (SPEC 7.9): a lock that the system drops when its holder dies."""

import contextlib
import os
import sys
from pathlib import Path

from bombyx.errors import SetupError

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_PID_DIGITS = 20


class FolderLock:
    """Held from its making to `close`; the file says whose it is, for the error of the next."""

    def __init__(self, folder: Path, *, name: str) -> None:
        """Raises `SetupError` while another process holds it, or where none can be made."""
        try:
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
        except OSError as error:
            raise SetupError(f"{folder} cannot be locked: {error.strerror}") from None
        try:
            _try_lock(descriptor)
        except OSError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise SetupError(
                f"the channel {name} is in use by {holder}: two that sign for one channel would "
                "lose count. Run one sidecar (`bombyx proxy`) and let all programs pay through it"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def close(self) -> None:
        """Let it go; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, _PID_DIGITS, 0)
    return f"process {text.decode()}" if text.isdigit() else "another process"
