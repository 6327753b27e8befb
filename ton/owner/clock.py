"""The wall clock of an owner's commands."""

import time


def unix_seconds() -> int:
    """Now."""
    return int(time.time())  # noqa: TID251 - a shell
