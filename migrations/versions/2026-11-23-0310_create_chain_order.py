"""What the gateway's wallet sends, and how far its history is read."""

import sqlalchemy as sa
from alembic import op

revision = "202611230310"
down_revision = "202611230300"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add three tables."""
    op.create_table(
        "chain_order",
        sa.Column("at", SERIAL, autoincrement=True, nullable=False),
        sa.Column("wallet", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("boc", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "state IN ('queued', 'signed', 'sent', 'skipped', 'bounced')",
            name=op.f("ck_chain_order_state_known"),
        ),
        sa.PrimaryKeyConstraint("at", name=op.f("pk_chain_order")),
        sa.UniqueConstraint("wallet", "id", name=op.f("uq_chain_order_wallet_id")),
    )
    op.create_index(op.f("ix_chain_order_wallet_state"), "chain_order", ["wallet", "state"])
    op.create_index(op.f("ix_chain_order_wallet_account"), "chain_order", ["wallet", "account"])
    op.create_table(
        "chain_batch",
        sa.Column("at", SERIAL, autoincrement=True, nullable=False),
        sa.Column("wallet", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("seqno", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.Text(), nullable=False),
        sa.Column("boc", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_chain_batch_hash_length")),
        sa.PrimaryKeyConstraint("at", name=op.f("pk_chain_batch")),
    )
    op.create_index(op.f("ix_chain_batch_wallet"), "chain_batch", ["wallet"])
    op.create_table(
        "chain_cursor",
        sa.Column("wallet", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("lt", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("wallet", "reader", name=op.f("pk_chain_cursor")),
    )


def downgrade() -> None:
    """Drop them; what was ordered and not sent is forgotten."""
    op.drop_table("chain_cursor")
    op.drop_table("chain_batch")
    op.drop_table("chain_order")
