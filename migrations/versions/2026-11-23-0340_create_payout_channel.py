"""Payment channels of workers' owners, and accounts for them in the ledger."""

import sqlalchemy as sa
from alembic import op

from migrations.checks import replace_check

revision = "202611230340"
down_revision = "202611230310"
branch_labels = None
depends_on = None

LIVE, ALIVE = sa.text("live"), sa.text("NOT closed")
PARTIES = ("client", "gateway", "client_key", "gateway_key")
TOTALS = ("vouched", "deposited", "claimed", "ordered")
KINDS = "'credit', 'charge', 'earning', 'fee', 'deposit', 'payback', 'withdrawal'"
CHECKS = (
    (
        "account",
        "ck_account_kind_known",
        "kind IN ('client', 'worker', 'gateway', 'issuance', 'channel', 'chain')",
        "kind IN ('client', 'worker', 'gateway', 'issuance', 'channel', 'chain', 'payout')",
    ),
    (
        "ledger_entry",
        "ck_ledger_entry_kind_known",
        f"kind IN ({KINDS})",
        f"kind IN ({KINDS}, 'voucher', 'payout')",
    ),
)
"""Table, constraint, what it was and what it is: each allows more than before."""
ONCE = "kind IN ('credit', 'deposit', 'payback', 'withdrawal'"


def upgrade() -> None:
    """Add two tables, and let the ledger name what it could not."""
    op.create_table(
        "payout_channel",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("network", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in PARTIES),
        sa.Column("challenge_period", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
            for name in (*TOTALS, "close_at")
        ),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("closed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *(
            sa.CheckConstraint(
                f"length({name}) = 32", name=op.f(f"ck_payout_channel_{name}_length")
            )
            for name in PARTIES
        ),
        *(
            sa.CheckConstraint(f"{name} >= 0", name=op.f(f"ck_payout_channel_{name}_not_negative"))
            for name in TOTALS
        ),
        sa.CheckConstraint("claimed <= vouched", name=op.f("ck_payout_channel_claims_known")),
        sa.CheckConstraint("NOT (live AND closed)", name=op.f("ck_payout_channel_live_is_open")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payout_channel")),
    )
    op.create_index(
        "uq_payout_channel_live",
        "payout_channel",
        ["network", "owner"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index(
        "ix_payout_channel_alive",
        "payout_channel",
        ["id"],
        unique=False,
        sqlite_where=ALIVE,
        postgresql_where=ALIVE,
    )
    op.create_table(
        "payee",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(key) = 32", name=op.f("ck_payee_key_length")),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_payee")),
    )
    op.create_index(op.f("ix_payee_owner_at"), "payee", ["owner", "at"], unique=False)
    for table, name, before, after in CHECKS:
        replace_check(table, name, before, after)
    _index_once(f"{ONCE}, 'voucher', 'payout')", f"{ONCE})")


def downgrade() -> None:
    """Drop them; refused by PostgreSQL where the ledger has entries of payouts."""
    _index_once(f"{ONCE})", f"{ONCE}, 'voucher', 'payout')")
    for table, name, before, after in CHECKS:
        replace_check(table, name, after, before)
    op.drop_table("payee")
    op.drop_table("payout_channel")


def _index_once(new: str, old: str) -> None:
    name, table = "uq_ledger_entry_credit", "ledger_entry"
    told, gone = sa.text(new), sa.text(old)
    op.drop_index(name, table_name=table, sqlite_where=gone, postgresql_where=gone)
    op.create_index(
        name, table, ["txn", "account"], unique=True, sqlite_where=told, postgresql_where=told
    )
