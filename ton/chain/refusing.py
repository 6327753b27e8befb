"""How a node says that an account does not accept a message: liteservers' words, also by HTTP."""

import re
from typing import Final

from ton.errors import MessageNotAccepted

_EXIT_CODE: Final = re.compile(r"exitcode=(-?\d{1,10})")


def not_accepted(text: str) -> MessageNotAccepted | None:
    """The refusal that a node's error speaks of, or None where it is about something else."""
    found = _EXIT_CODE.search(text)
    if found is None and "not accepted" not in text:
        return None
    exit_code = int(found.group(1)) if found else None
    return MessageNotAccepted(
        f"the account does not accept this message (exit code {exit_code})", exit_code=exit_code
    )
