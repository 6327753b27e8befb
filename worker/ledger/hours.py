"""What a worker did, by hour and model, for its owner: counts alone, of 90 days at most.

Kept as one note per day in the journal, encrypted as all of it. Pure: times come in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

import msgspec

from bombyx.control.document import DAY_HOURS, HOUR_SECONDS, KEPT_DAYS, SHOWN_HOURS, Counts
from bombyx.money.statement import Statement

NOTES = "hours/"
MAX_MODELS = 64
"""Of one hour; models that come and go all the time share a line beyond that."""
MAX_CODES = 64
OTHER = "other"
_MS = 1000
_DAY_SECONDS = DAY_HOURS * HOUR_SECONDS


@dataclass(slots=True)
class Line:
    """Sums of one hour and model; `earned` in nano."""

    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    earned: int = 0
    busy_ms: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Line") -> None:
        """Take another line's sums."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for code, count in other.refused.items():
            self.refused[code] = self.refused.get(code, 0) + count

    def counts(self, start: int, model: str) -> Counts:
        """For the owner; `start` in unix seconds."""
        return Counts(
            start=start,
            model=model,
            requests=self.requests,
            prompt=self.prompt,
            cached=self.cached,
            completion=self.completion,
            reasoning=self.reasoning,
            earned_nano=str(self.earned),
            busy_ms=self.busy_ms,
            refused=dict(self.refused),
        )


_SUMS = tuple(one.name for one in fields(Line) if one.name != "refused")


class Hours:
    """Counts up; `notes` gives what has changed since it was last asked. Times in milliseconds."""

    def __init__(self) -> None:
        self._days: dict[int, dict[tuple[int, str], Line]] = {}
        self._changed: set[int] = set()

    @classmethod
    def read(cls, notes: Mapping[str, str]) -> "Hours":
        """As the process before left it; a note that cannot be read is passed over."""
        hours = cls()
        for name, text in notes.items():
            try:
                day = int(name.removeprefix(NOTES))
                rows = msgspec.json.decode(text, type=list[tuple[int, str, Line]])
            except (ValueError, msgspec.DecodeError):
                continue
            hours._days[day] = {(hour, model): line for hour, model, line in rows}
        return hours

    @property
    def is_changed(self) -> bool:
        """Whether there is something to keep."""
        return bool(self._changed)

    def served(self, statement: Statement) -> None:
        """A terminal statement is on disk: a request that is paid for."""
        line, tokens = self._line(statement.at, statement.model), statement.tokens
        line.requests += 1
        line.prompt += tokens.prompt
        line.cached += tokens.cached
        line.completion += tokens.completion
        line.reasoning += tokens.reasoning
        line.earned += int(statement.amount_nano)

    def busy(self, model: str, milliseconds: int, *, at: int) -> None:
        """A request held a slot for so long, and ended at `at`."""
        self._line(at, model).busy_ms += max(milliseconds, 0)

    def refused(self, model: str, code: str, *, at: int) -> None:
        """A request was not answered."""
        refused = self._line(at, model).refused
        code = code if code in refused or len(refused) < MAX_CODES else OTHER
        refused[code] = refused.get(code, 0) + 1

    def notes(self) -> dict[str, str | None]:
        """What to keep by name, None for what to forget; what it gave is not given again."""
        # By number and not by age: a clock that was once far ahead must not cost all the rest.
        gone = sorted(self._days)[:-KEPT_DAYS]
        for day in gone:
            del self._days[day]
        changed, self._changed = self._changed, set()
        kept: dict[str, str | None] = {
            f"{NOTES}{day}": self._note(day) for day in sorted(changed) if day in self._days
        }
        return kept | dict.fromkeys((f"{NOTES}{day}" for day in gone), None)

    def put_back(self, names: Iterable[str]) -> None:
        """These could not be written: they are still to be kept."""
        days = (int(name.removeprefix(NOTES)) for name in names)
        self._changed |= {day for day in days if day in self._days}

    def by_hour(self, *, at: int) -> list[Counts]:
        """The last two days, oldest first."""
        since = at // _MS // HOUR_SECONDS - SHOWN_HOURS + 1
        lines = (
            (hour, model, line)
            for day in sorted(self._days)
            for (hour, model), line in sorted(self._days[day].items())
            if hour >= since
        )
        return [line.counts(hour * HOUR_SECONDS, model) for hour, model, line in lines]

    def by_day(self) -> list[Counts]:
        """All that is kept, oldest first; days are those of UTC."""
        told = []
        for day, lines in sorted(self._days.items()):
            sums: dict[str, Line] = {}
            for (_, model), line in lines.items():
                sums.setdefault(model, Line()).add(line)
            told += [sums[model].counts(day * _DAY_SECONDS, model) for model in sorted(sums)]
        return told

    def _line(self, at: int, model: str) -> Line:
        hour = at // _MS // HOUR_SECONDS
        day = hour // DAY_HOURS
        self._changed.add(day)
        lines = self._days.setdefault(day, {})
        key = (hour, model)
        if key not in lines and sum(one[0] == hour for one in lines) >= MAX_MODELS:
            key = (hour, OTHER)
        return lines.setdefault(key, Line())

    def _note(self, day: int) -> str:
        rows = [(hour, model, line) for (hour, model), line in sorted(self._days[day].items())]
        return msgspec.json.encode(rows).decode()
