"""Who changed what: one row per change, written in the transaction of the change itself.

Append-only as the ledger is: triggers refuse UPDATE and DELETE.
"""

from sqlalchemy import DDL, Column, Index, Table, Text, event

from gateway.models.metadata import Milliseconds, Serial, metadata

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Milliseconds, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "target", "id"),
)
"""`actor` is the id of an admin key, or `cli`; `detail` is JSON without secrets."""

APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER audit_log_no_{verb} BEFORE {verb.upper()} ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for verb in ("update", "delete")
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
        ),
        (
            "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
            "FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()"
        ),
    ),
}

for _dialect, _statements in APPEND_ONLY.items():
    for _statement in _statements:
        _trigger = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(audit_log, "after_create", _trigger.execute_if(dialect=_dialect))
