"""An index of the few ledger entries that came from an address or went to one."""

import sqlalchemy as sa
from alembic import op

revision = "202611230900"
down_revision = "202611230600"
branch_labels = None
depends_on = None

MOVED = sa.text("kind IN ('deposit', 'withdrawal')")


def upgrade() -> None:
    """Withdrawals by a key ask what came from an address, and must not read the whole account."""
    op.create_index(
        "ix_ledger_entry_moved",
        "ledger_entry",
        ["account", "ref"],
        sqlite_where=MOVED,
        postgresql_where=MOVED,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_ledger_entry_moved", table_name="ledger_entry")
