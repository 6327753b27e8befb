"""Usage by day, account, key, tier and model: what `usage_day` holds, and its exports."""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.errors import RequestError
from gateway.models import usage_day

COLUMNS = (
    "day",
    "account",
    "key",
    "tier",
    "model",
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "charge_nano",
)
MAX_EXPORT = 1_000_000
"""Rows of one export: a year of a thousand keys, some tens of megabytes."""

Position: TypeAlias = tuple[int, str, str, str, str]
_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Used:
    """One row; `day` in days since 1970 (UTC)."""

    day: int
    account: str
    key: str
    tier: str
    model: str
    requests: int
    prompt: int
    cached: int
    completion: int
    reasoning: int
    charge_nano: int

    @property
    def position(self) -> Position:
        """The row's place in the order of the table."""
        return (self.day, self.account, self.key, self.tier, self.model)

    def values(self) -> tuple[str | int, ...]:
        """In the order of `COLUMNS`; the charge as text, as everywhere."""
        return (
            *(day_text(self.day), self.account, self.key, self.tier, self.model),
            *(self.requests, self.prompt, self.cached, self.completion, self.reasoning),
            str(self.charge_nano),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows: days from `first` to `last` inclusive, and equal to what is given."""

    first: int
    last: int
    account: str | None = None
    key: str | None = None
    model: str | None = None


def day_number(text: str, param: str) -> int:
    """`YYYY-MM-DD` as days since 1970; raises `RequestError`."""
    try:
        return (dt.date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise RequestError("a day is YYYY-MM-DD", param=param) from None


def day_text(number: int) -> str:
    """The other way round."""
    return (_EPOCH + dt.timedelta(days=number)).isoformat()


def month_start(day: int) -> int:
    """The first day of the month that a day lies in."""
    return (_EPOCH + dt.timedelta(days=day)).replace(day=1).toordinal() - _EPOCH.toordinal()


async def read_usage(
    engine: AsyncEngine, span: Span, *, after: Position | None, limit: int
) -> Sequence[Used]:
    """Rows in the order of the table, after a position."""
    columns = usage_day.c
    query = select(*(columns[name] for name in Used.__slots__)).where(
        columns.day >= span.first, columns.day <= span.last
    )
    for name in ("account", "key", "model"):
        wanted = getattr(span, name)
        if wanted is not None:
            query = query.where(columns[name] == wanted)
    order = (columns.day, columns.account, columns.key, columns.tier, columns.model)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    async with engine.connect() as connection:
        rows = await connection.execute(query.order_by(*order).limit(limit))
        return [Used(*row) for row in rows]


async def read_all(engine: AsyncEngine, span: Span) -> Sequence[Used]:
    """Every row of a span; raises `RequestError` where that is too many for one export."""
    rows = await read_usage(engine, span, after=None, limit=MAX_EXPORT + 1)
    if len(rows) > MAX_EXPORT:
        raise RequestError("that is more than one export holds: ask for fewer days", param="from")
    return rows


def as_csv(rows: Iterable[Used]) -> bytes:
    """Comma-separated values with a line of names; text that a spreadsheet would run is defused."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_inert(value) for value in row.values()] for row in rows)
    return out.getvalue().encode()


def _inert(value: str | int) -> str | int:
    """Model names come from workers: none may begin a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"} else value


def as_parquet(rows: Sequence[Used]) -> bytes:
    """A Parquet file; raises `RequestError` where the extra `parquet` is not installed."""
    try:
        core = import_module("arro3.core")
        writer = import_module("arro3.io")
    except ModuleNotFoundError:
        raise RequestError(
            "this gateway exports no Parquet: install bombyx[parquet]", param="format"
        ) from None
    columns: dict[str, Any] = {
        name: core.Array(
            [row.values()[index] for row in rows],
            type=core.DataType.int64()
            if name == "requests" or name.endswith("_tokens")
            else core.DataType.utf8(),
        )
        for index, name in enumerate(COLUMNS)
    }
    out = io.BytesIO()
    writer.write_parquet(core.Table.from_pydict(columns), out)
    return out.getvalue()
