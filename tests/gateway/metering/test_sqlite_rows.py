"""Statements of many rows: each row once, in order, whatever their number."""

import sqlite3

import pytest

from gateway.metering.sqlite_rows import ManyRows

_INSERT = ManyRows("INSERT INTO t (a, b) VALUES", "(?,?)", "ON CONFLICT DO NOTHING")
_UPDATE = ManyRows(
    "UPDATE t SET b = v.column1 FROM (VALUES", "(?,?)", ") AS v WHERE t.a = v.column2"
)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 256])
def test_every_row_is_written_once_in_order(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER UNIQUE, b INTEGER)")
    rows = [(number, number * number) for number in range(count)]
    assert _INSERT.run(connection, rows) == count
    assert connection.execute("SELECT a, b FROM t ORDER BY rowid").fetchall() == rows
    assert _UPDATE.run(connection, [(b + 1, a) for a, b in rows]) == count
    changed = [(a, b + 1) for a, b in rows]
    assert connection.execute("SELECT a, b FROM t ORDER BY rowid").fetchall() == changed


def test_rows_that_were_there_are_not_counted() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER UNIQUE, b INTEGER)")
    _INSERT.run(connection, [(1, 1), (2, 2)])
    assert _INSERT.run(connection, [(number, 0) for number in range(5)]) == 3
