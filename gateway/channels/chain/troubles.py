"""What a person must look at: told once in the log, and kept until it is over."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Final

import structlog

from bombyx.errors import BombyxError
from gateway.channels.treasury import Trouble

BROKEN: Final = "chain_failed"
"""The word of what no error of ours describes: the database's, or a mistake in this program."""

_log = structlog.get_logger(__name__)


class Troubles:
    """Those that last; a word and a subject are one trouble, however often it is seen."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Trouble] = {}
        self._alone: dict[tuple[str, str], str] = {}

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

    @contextlib.contextmanager
    def alone(self, work: str, subject: str) -> Iterator[None]:
        """Do `work` for one subject: what goes wrong is told, and nobody else's trouble.

        It is over once the same work succeeds, or is done no more: see `done_for`.
        """
        word = ""
        try:
            yield
        except BombyxError as error:
            word = error.code
            self.tell(word, subject, error.message)
        except Exception as error:  # noqa: BLE001 - a boundary: the others' money goes on
            word = BROKEN
            _log.exception("chain_work_failed", work=work, subject=subject)
            self.tell(word, subject, type(error).__name__)
        self._settle(work, subject, word)

    def done_for(self, work: str, subjects: Collection[str]) -> None:
        """This `work` has these subjects by now: what was told of others by `alone` is over."""
        for known, subject in list(self._alone):
            if known == work and subject not in subjects:
                self._settle(work, subject, "")

    def only(self, word: str, subjects: Collection[str]) -> None:
        """This `word` can be of these subjects at most: another process may have ended the others.

        Of what was told by `tell`; `alone` has `done_for`.
        """
        for one in self.all():
            if one.word == word and one.subject not in subjects:
                self.over(word, one.subject)

    def forget(self) -> None:
        """Another process looks from now on: what lasts, it tells."""
        self._known.clear()
        self._alone.clear()

    def _settle(self, work: str, subject: str, word: str) -> None:
        """How this work ended: with `word`, or well. Other work may have told the same."""
        before = self._alone.pop((work, subject), "")
        if word:
            self._alone[work, subject] = word
        lasting = {told for (_, of), told in self._alone.items() if of == subject}
        if before and before not in lasting:
            self.over(before, subject)
