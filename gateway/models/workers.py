"""What workers have shown: keysets with their evidence, collateral, offers (SPEC 1.7).

Documents are kept in canonical form, as signed. Archived keysets count when a late statement is
judged (SPEC 6.1), so nothing here is deleted while a claim may still name it.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text

from gateway.models.metadata import Milliseconds, metadata, one_of

keyset = Table(
    "keyset",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("collateral", Text, nullable=False),
    Column("first_seen", Milliseconds, nullable=False),
    Column("last_seen", Milliseconds, nullable=False),
    Index(None, "last_seen"),
)

collateral = Table(
    "collateral",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)

decision = Table(
    "decision",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("policy", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index(None, "worker"),
)
"""Why workers were listed (SPEC 17.12): the first decision about the same documents; unix seconds.

`policy` is the digest of its text; the decision itself names the policy's hash.
"""

archived = Table(
    "archived",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)
"""What decisions were made from and no other table keeps: evidence, policies, vendors' documents.
"""

offer = Table(
    "offer",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Column("signature", Text, nullable=False),
)

sanction = Table(
    "sanction",
    metadata,
    Column("subject", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Milliseconds, nullable=False),
    PrimaryKeyConstraint("subject", "id"),
    one_of("subject", "worker", "platform"),
    one_of("action", "drain", "block"),
)
"""Whom administrators take out: a worker by its id, or all workers of a machine by its platform id.

A drained one gets nothing new; a blocked one is refused at the link.
"""
