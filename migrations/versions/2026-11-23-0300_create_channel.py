"""Payment channels: their rows, what claims they pay, and accounts for them in the ledger."""

import sqlalchemy as sa
from alembic import op

from migrations.checks import replace_check

revision = "202611230300"
down_revision = "202611230030"
branch_labels = None
depends_on = None

ALIVE = sa.text("NOT closed")
PARTIES = ("client", "gateway", "client_key", "gateway_key")
TOTALS = ("deposited", "charged", "reserved", "claimed")
CHECKS = (
    (
        "account",
        "ck_account_kind_known",
        "kind IN ('client', 'worker', 'gateway', 'issuance')",
        "kind IN ('client', 'worker', 'gateway', 'issuance', 'channel', 'chain')",
    ),
    (
        "account",
        "ck_account_posted_not_negative",
        "posted >= 0 OR kind = 'issuance'",
        "posted >= 0 OR kind IN ('issuance', 'chain')",
    ),
    (
        "ledger_entry",
        "ck_ledger_entry_kind_known",
        "kind IN ('credit', 'charge', 'earning', 'fee')",
        "kind IN ('credit', 'charge', 'earning', 'fee', 'deposit', 'payback', 'withdrawal')",
    ),
)
"""Table, constraint, what it was and what it is: each allows more than before."""
CREDITS = sa.text("kind = 'credit'")
ONCE = sa.text("kind IN ('credit', 'deposit', 'payback', 'withdrawal')")


def upgrade() -> None:
    """Add a table and a column, and let the ledger name what it could not."""
    op.create_table(
        "channel",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("network", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in PARTIES),
        sa.Column("challenge_period", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in (*TOTALS, "ceiling", "ceiling_seqno")
        ),
        sa.Column("ceiling_signature", sa.LargeBinary(), nullable=True),
        sa.Column("closing", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("close_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("terms_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("closed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("halted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *(
            sa.CheckConstraint(f"length({name}) = 32", name=op.f(f"ck_channel_{name}_length"))
            for name in PARTIES
        ),
        *(
            sa.CheckConstraint(f"{name} >= 0", name=op.f(f"ck_channel_{name}_not_negative"))
            for name in TOTALS
        ),
        sa.CheckConstraint(
            "charged + reserved <= deposited AND charged + reserved <= ceiling",
            name=op.f("ck_channel_covered"),
        ),
        sa.CheckConstraint("claimed <= charged OR halted", name=op.f("ck_channel_claims_known")),
        sa.ForeignKeyConstraint(["owner"], ["account.id"], name=op.f("fk_channel_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel")),
    )
    op.create_index(op.f("ix_channel_owner"), "channel", ["owner"], unique=False)
    op.create_index(
        "ix_channel_alive",
        "channel",
        ["id"],
        unique=False,
        sqlite_where=ALIVE,
        postgresql_where=ALIVE,
    )
    op.add_column("claim", sa.Column("channel", sa.Text(), nullable=True))
    for table, name, before, after in CHECKS:
        replace_check(table, name, before, after)
    _index_once(ONCE, CREDITS)


def downgrade() -> None:
    """Drop them; refused by PostgreSQL where the ledger has entries of channels."""
    _index_once(CREDITS, ONCE)
    for table, name, before, after in CHECKS:
        replace_check(table, name, after, before)
    op.drop_column("claim", "channel")
    op.drop_index(
        "ix_channel_alive", table_name="channel", sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.drop_index(op.f("ix_channel_owner"), table_name="channel")
    op.drop_table("channel")


def _index_once(new: sa.TextClause, old: sa.TextClause) -> None:
    name, table = "uq_ledger_entry_credit", "ledger_entry"
    op.drop_index(name, table_name=table, sqlite_where=old, postgresql_where=old)
    op.create_index(
        name, table, ["txn", "account"], unique=True, sqlite_where=new, postgresql_where=new
    )
