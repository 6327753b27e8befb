"""Why workers were listed: each decision once, and the documents that it was made from."""

import sqlalchemy as sa
from alembic import op

revision = "202611230030"
down_revision = "202611222330"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "decision",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_decision")),
    )
    op.create_index(op.f("ix_decision_worker"), "decision", ["worker"], unique=False)
    op.create_table(
        "archived",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_archived")),
    )


def downgrade() -> None:
    """Drop them: nothing that counts money needs them."""
    op.drop_table("archived")
    op.drop_table("decision")
