"""Payment channels that pay us: one row each, as `bombyx.money.channel.acceptance` has it (SPEC 7).

The checks are the rules' own invariant, so that no statement of ours can break it. `id` is the
channel's account in hex, times of the chain (`close_at`, `terms_until`) are unix seconds.
Rows are never deleted: an address that was closed must never be served again (SPEC 9.4).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    false,
    text,
)

from gateway.models.metadata import Amount, Milliseconds, bytes_long, metadata, not_negative

_PARTIES = ("client", "gateway", "client_key", "gateway_key")
_TOTALS = ("deposited", "charged", "reserved", "claimed")

channel = Table(
    "channel",
    metadata,
    Column("id", Text, primary_key=True),
    Column("network", BigInteger, nullable=False),
    Column("owner", Text, ForeignKey("account.id"), nullable=False, index=True),
    *(Column(name, LargeBinary, nullable=False) for name in _PARTIES),
    Column("challenge_period", BigInteger, nullable=False),
    Column("salt", Text, nullable=False),
    *(Column(name, Amount, nullable=False, server_default="0") for name in _TOTALS),
    Column("ceiling", Amount, nullable=False, server_default="0"),
    Column("ceiling_seqno", BigInteger, nullable=False, server_default="0"),
    Column("ceiling_signature", LargeBinary),
    Column("closing", Boolean, nullable=False, server_default=false()),
    Column("close_at", BigInteger, nullable=False, server_default="0"),
    Column("terms_until", BigInteger, nullable=False, server_default="0"),
    Column("ending", Boolean, nullable=False, server_default=false()),
    Column("closed", Boolean, nullable=False, server_default=false()),
    Column("halted", Boolean, nullable=False, server_default=false()),
    Column("created_at", Milliseconds, nullable=False),
    *(bytes_long(name, 32) for name in _PARTIES),
    *(not_negative(name) for name in _TOTALS),
    CheckConstraint(
        "charged + reserved <= deposited AND charged + reserved <= ceiling", name="covered"
    ),
    CheckConstraint("claimed <= charged OR halted", name="claims_known"),
)
"""`salt` is decimal text: 64 bits without a sign fit no column."""

_ALIVE = text("NOT closed")

Index("ix_channel_alive", channel.c.id, sqlite_where=_ALIVE, postgresql_where=_ALIVE)
