"""Whether a channel's end was asked for by its gateway's operator, and is not taken back."""

import sqlalchemy as sa
from alembic import op

revision = "202611230600"
down_revision = "202611230340"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column; no channel is being ended so far as these books know."""
    op.add_column(
        "channel", sa.Column("ending", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_column("channel", "ending")
