"""What hardware vendors publish about platforms (SPEC 17.10): a store that can be filled again.

One row for each name. A row is served until `next_update` and no longer; `refresh_at` is when it is
asked for anew, and `asked_at` tells whether anybody still needs it.
"""

from sqlalchemy import Column, Index, LargeBinary, Table, Text

from gateway.models.metadata import Milliseconds, metadata

vendor_document = Table(
    "vendor_document",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("fetched_at", Milliseconds, nullable=False),
    Column("next_update", Milliseconds, nullable=False),
    Column("refresh_at", Milliseconds, nullable=False),
    Column("asked_at", Milliseconds, nullable=False),
    Index(None, "digest"),
    Index(None, "refresh_at"),
)
