"""Changing a table's checks in place, which SQLite has no statement for."""

from alembic import op


def replace_check(table: str, name: str, before: str, after: str) -> None:
    """Put another condition in place of a check's, in a table that stands.

    `before` is its text as the last version wrote it; raises `RuntimeError` where it is not there.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f(name), table, type_="check")
        op.create_check_constraint(op.f(name), table, after)
        return
    # SQLite cannot alter a check, and a table that others refer to and that has triggers is better
    # not copied: its documentation's way for a change that no row depends on is its schema's text.
    bind = op.get_bind()
    bind.exec_driver_sql("PRAGMA writable_schema = ON")
    changed = bind.exec_driver_sql(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) "
        "WHERE type = 'table' AND name = ? AND instr(sql, ?) > 0",
        (f"CHECK ({before})", f"CHECK ({after})", table, f"CHECK ({before})"),
    )
    if changed.rowcount != 1:
        raise RuntimeError(f"the table {table} is not what the last version made")
    (version,) = bind.exec_driver_sql("PRAGMA schema_version").one()
    bind.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema = OFF")
