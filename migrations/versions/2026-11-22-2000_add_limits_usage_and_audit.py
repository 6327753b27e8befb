"""Limits of keys, usage by day, sanctions of workers, and who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "202611222000"
down_revision = "202611221600"
branch_labels = None
depends_on = None

APPEND_ONLY = {
    "sqlite": (
        (
            "CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        ),
        (
            "CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        ),
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
UNBILLED = sa.text("disposition <> 'billed'")


def upgrade() -> None:
    """Add what is new; nothing of it rewrites a row."""
    op.add_column("account", sa.Column("closed_at", sa.BigInteger(), nullable=True))
    op.add_column(
        "claim", sa.Column("key", sa.Text(), server_default=sa.text("''"), nullable=False)
    )
    op.add_column(
        "claim", sa.Column("rationed", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index(op.f("ix_claim_created_at"), "claim", ["created_at"], unique=False)
    op.create_index(
        "ix_receipt_unbilled_at",
        "receipt",
        ["at"],
        unique=False,
        sqlite_where=UNBILLED,
        postgresql_where=UNBILLED,
    )
    op.create_table(
        "allowance",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('requests', 'tokens', 'slots', 'nano')", name=op.f("ck_allowance_kind_known")
        ),
        sa.CheckConstraint("granted >= 0", name=op.f("ck_allowance_granted_not_negative")),
        sa.PrimaryKeyConstraint("key", "kind", "slot", name=op.f("pk_allowance")),
    )
    op.create_index(op.f("ix_allowance_slot"), "allowance", ["slot"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_target_id"), "audit_log", ["target", "id"], unique=False)
    op.create_table(
        "sanction",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "subject IN ('worker', 'platform')", name=op.f("ck_sanction_subject_known")
        ),
        sa.CheckConstraint("action IN ('drain', 'block')", name=op.f("ck_sanction_action_known")),
        sa.PrimaryKeyConstraint("subject", "id", name=op.f("pk_sanction")),
    )
    op.create_table(
        "usage_day",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt", sa.BigInteger(), nullable=False),
        sa.Column("cached", sa.BigInteger(), nullable=False),
        sa.Column("completion", sa.BigInteger(), nullable=False),
        sa.Column("reasoning", sa.BigInteger(), nullable=False),
        sa.Column("charge_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "account", "key", "tier", "model", name=op.f("pk_usage_day")
        ),
    )
    op.create_index(op.f("ix_usage_day_key_day"), "usage_day", ["key", "day"], unique=False)
    op.create_table(
        "key_limit",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("slots", sa.BigInteger(), nullable=True),
        sa.Column("nano", sa.BigInteger(), nullable=True),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("recall", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("requests >= 0", name=op.f("ck_key_limit_requests_not_negative")),
        sa.CheckConstraint("tokens >= 0", name=op.f("ck_key_limit_tokens_not_negative")),
        sa.CheckConstraint("slots >= 0", name=op.f("ck_key_limit_slots_not_negative")),
        sa.CheckConstraint("nano >= 0", name=op.f("ck_key_limit_nano_not_negative")),
        sa.ForeignKeyConstraint(["key"], ["api_key.id"], name=op.f("fk_key_limit_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_key_limit")),
    )
    op.create_index(
        "ix_key_limit_recall",
        "key_limit",
        ["key"],
        unique=False,
        sqlite_where=sa.text("recall"),
        postgresql_where=sa.text("recall"),
    )
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drop what was added."""
    op.drop_index(
        "ix_key_limit_recall",
        table_name="key_limit",
        sqlite_where=sa.text("recall"),
        postgresql_where=sa.text("recall"),
    )
    op.drop_table("key_limit")
    op.drop_index(op.f("ix_usage_day_key_day"), table_name="usage_day")
    op.drop_table("usage_day")
    op.drop_table("sanction")
    op.drop_index(op.f("ix_audit_log_target_id"), table_name="audit_log")
    op.drop_table("audit_log")
    op.drop_index(op.f("ix_allowance_slot"), table_name="allowance")
    op.drop_table("allowance")
    op.drop_index(
        "ix_receipt_unbilled_at",
        table_name="receipt",
        sqlite_where=UNBILLED,
        postgresql_where=UNBILLED,
    )
    op.drop_index(op.f("ix_claim_created_at"), table_name="claim")
    op.drop_column("claim", "rationed")
    op.drop_column("claim", "key")
    op.drop_column("account", "closed_at")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only")
