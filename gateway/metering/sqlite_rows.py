"""Many rows in one SQLite statement.

Python lets go of its lock at every step of a statement, and takes it back against the busy event
loop: with `executemany` once for each row, which costs more than the row.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

_SIZES = (64, 32, 16, 8, 4, 2, 1)
"""Rows of one statement; few sizes, so that all their statements stay prepared."""


class ManyRows:
    """A statement with a list of `VALUES` rows, for any number of rows."""

    def __init__(self, before: str, row: str, after: str = "") -> None:
        self._texts = {size: f"{before} {','.join([row] * size)} {after}" for size in _SIZES}

    def run(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> int:
        """Execute it; the rows changed."""
        changed = at = 0
        for size in _SIZES:
            while len(rows) - at >= size:
                values = [value for row in rows[at : at + size] for value in row]
                changed += connection.execute(self._texts[size], values).rowcount
                at += size
        return changed
