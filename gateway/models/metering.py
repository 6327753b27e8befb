"""Processes, leases, claims, attempts and receipts (SPEC 5, 6).

The hot tables have no foreign keys: each would lock or read a row of another table per insert, and
what they would hold is held by the fence on the process row. All are keyed by the
commitment `c` first, a uniform 32-byte key that can be hash-partitioned as it is.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)

from gateway.models.metadata import (
    Amount,
    Milliseconds,
    bytes_long,
    metadata,
    not_negative,
    one_of,
)

process = Table(
    "process",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", Milliseconds, nullable=False),
    Column("link_url", Text, nullable=False),
    Column("draining", Boolean, nullable=False, server_default=false()),
)
"""Rows are never deleted: an epoch must not come twice."""

lease = Table(
    "lease",
    metadata,
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("granted", Amount, nullable=False),
    PrimaryKeyConstraint("account", "slot"),
    Index(None, "slot"),
    not_negative("granted"),
)

_OPEN = text("state = 'open'")

# `key` is the API key that asked, for usage. `rationed` says that its reserve was taken out of the
# key's budget as well, so that settling shrinks that allowance too. `channel` pays in place of the
# account's balance; such a claim touches no lease.
claim = Table(
    "claim",
    metadata,
    Column("c", LargeBinary, primary_key=True),
    Column("h", LargeBinary, nullable=False),
    Column("id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("reserve", Amount, nullable=False),
    Column("state", Text, nullable=False),
    Column("deadline", Milliseconds, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("winner", Text),
    Column("worker", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("offer", Text, nullable=False),
    Column("statement_hash", LargeBinary),
    Column("charge", Amount),
    Column("tier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("payer", Text, nullable=False),
    Column("fee_bps", Integer, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("req_ct_hash", LargeBinary, nullable=False),
    Column("created_at", Milliseconds, nullable=False, index=True),
    Column("key", Text, nullable=False, server_default=text("''")),
    Column("rationed", Boolean, nullable=False, server_default=false()),
    Column("channel", Text),
    bytes_long("c", 32),
    bytes_long("h", 32),
    one_of("state", "open", "settled"),
    one_of("tier", "sealed", "bare"),
    not_negative("reserve"),
    not_negative("charge"),
    Index(None, "id"),
    Index("ix_claim_open_deadline", "deadline", sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("ix_claim_open_account", "account", sqlite_where=_OPEN, postgresql_where=_OPEN),
)

# Attempt 1 stands in the claim itself: most claims have no other, and a second random key per
# request would cost a page written.
attempt = Table(
    "attempt",
    metadata,
    Column("c", LargeBinary, nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("offer", Text, nullable=False),
    Column("dispatched_at", Milliseconds, nullable=False),
    PrimaryKeyConstraint("c", "number"),
    sqlite_with_rowid=False,
)

_UNBILLED = text("disposition <> 'billed'")

# A receipt is found by request id through the account's claims, which also says whose it is.
receipt = Table(
    "receipt",
    metadata,
    Column("c", LargeBinary, nullable=False),
    Column("statement_hash", LargeBinary, nullable=False),
    Column("id", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("code", Text),
    Column("charge_nano", Amount, nullable=False),
    Column("at", Milliseconds, nullable=False),
    PrimaryKeyConstraint("c", "statement_hash"),
    bytes_long("statement_hash", 32),
    one_of("status", "partial", "final", "aborted"),
    one_of("disposition", "billed", "superseded", "expired", "invalid"),
    not_negative("charge_nano"),
    Index("ix_receipt_unbilled_at", "at", sqlite_where=_UNBILLED, postgresql_where=_UNBILLED),
)

allowance = Table(
    "allowance",
    metadata,
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("granted", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "kind", "slot"),
    Index(None, "slot"),
    one_of("kind", "requests", "tokens", "slots", "nano"),
    not_negative("granted"),
)
"""Leases of what a key may use, as `lease` is of money.

`term` is the minute for requests and tokens, whose rows mean nothing afterwards; for slots and nano
it is the epoch of the process, with which they end.
"""

usage_day = Table(
    "usage_day",
    metadata,
    Column("day", Integer, nullable=False),
    Column("account", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("prompt", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("completion", BigInteger, nullable=False),
    Column("reasoning", BigInteger, nullable=False),
    Column("charge_nano", Amount, nullable=False),
    PrimaryKeyConstraint("day", "account", "key", "tier", "model"),
    Index(None, "key", "day"),
)
"""What was billed, by the settlement's UTC day since 1970; written in its transaction.

It is also what a key's monthly budget is held against.
"""

idempotency = Table(
    "idempotency",
    metadata,
    Column("account", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body_digest", LargeBinary, nullable=False),
    Column("c", LargeBinary, nullable=False),
    Column("created_at", Milliseconds, nullable=False, index=True),
    PrimaryKeyConstraint("account", "key"),
)
"""Of the bare tier: which claim an `Idempotency-Key` stands for (SPEC 14.4)."""
