"""Payment channels by which owners of workers are paid, and the keys that owners gave (SPEC 8).

`id` is the channel's account in hex. Of an owner's channels one at most is `live` on a network: new
vouchers are of that one. Rows are never deleted.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    Table,
    Text,
    false,
    text,
)

from gateway.models.metadata import Amount, Milliseconds, bytes_long, metadata, not_negative

_PARTIES = ("client", "gateway", "client_key", "gateway_key")
_TOTALS = ("vouched", "deposited", "claimed", "ordered")

payout_channel = Table(
    "payout_channel",
    metadata,
    Column("id", Text, primary_key=True),
    Column("network", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    *(Column(name, LargeBinary, nullable=False) for name in _PARTIES),
    Column("challenge_period", BigInteger, nullable=False),
    Column("salt", Text, nullable=False),
    *(Column(name, Amount, nullable=False, server_default="0") for name in _TOTALS),
    Column("close_at", BigInteger, nullable=False, server_default="0"),
    Column("live", Boolean, nullable=False),
    Column("closed", Boolean, nullable=False, server_default=false()),
    Column("created_at", Milliseconds, nullable=False),
    *(bytes_long(name, 32) for name in _PARTIES),
    *(not_negative(name) for name in _TOTALS),
    CheckConstraint("claimed <= vouched", name="claims_known"),
    CheckConstraint("NOT (live AND closed)", name="live_is_open"),
)
"""`ordered` is what the gateway's wallet was told to deposit in all, `salt` decimal text."""

_LIVE, _ALIVE = text("live"), text("NOT closed")

Index(
    "uq_payout_channel_live",
    payout_channel.c.network,
    payout_channel.c.owner,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
Index(
    "ix_payout_channel_alive",
    payout_channel.c.id,
    sqlite_where=_ALIVE,
    postgresql_where=_ALIVE,
)

payee = Table(
    "payee",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("at", Milliseconds, nullable=False),
    bytes_long("key", 32),
    Index(None, "owner", "at"),
)
"""What a worker said in its hello: whose it is, and the owner's key for new channels."""
