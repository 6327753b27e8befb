"""What hardware vendors publish, fetched once for everybody: by name, by content, with its end."""

import sqlalchemy as sa
from alembic import op

revision = "202611222330"
down_revision = "202611222000"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add one table."""
    op.create_table(
        "vendor_document",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=False),
        sa.Column("next_update", sa.BigInteger(), nullable=False),
        sa.Column("refresh_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_vendor_document")),
    )
    op.create_index(op.f("ix_vendor_document_digest"), "vendor_document", ["digest"], unique=False)
    op.create_index(
        op.f("ix_vendor_document_refresh_at"), "vendor_document", ["refresh_at"], unique=False
    )


def downgrade() -> None:
    """Drop it: everything in it can be fetched again."""
    op.drop_table("vendor_document")
