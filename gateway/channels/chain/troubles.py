"""What a person must look at: told once in the log, and kept until it is over."""

import structlog

from gateway.channels.treasury import Trouble

_log = structlog.get_logger(__name__)


class Troubles:
    """Those that last; a word and a subject are one trouble, however often it is seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Trouble] = {}

    def tell(self, word: str, subject: str, reason: str) -> None:
        """Something is wrong."""
        key = word, subject
        if key not in self._known:
            _log.error(word, subject=subject, reason=reason)
        self._known[key] = Trouble(word, subject, reason)

    def over(self, word: str, subject: str) -> None:
        """It is not any more."""
        if self._known.pop((word, subject), None) is not None:
            _log.info(f"{word}_over", subject=subject)

    def all(self) -> list[Trouble]:
        """What lasts."""
        return list(self._known.values())
