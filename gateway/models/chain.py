"""What the gateway's wallet was told to send, and how far its history is read (SPEC 9.6).

`wallet` is the network's id and the wallet's address, so that another key or network begins anew.
Orders are never deleted: an id that was paid must not be paid again. Points of a history are a
logical time (64 bits without a sign, so text) and a hash.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.models.metadata import Serial, bytes_long, metadata, one_of

chain_order = Table(
    "chain_order",
    metadata,
    Column("at", Serial, primary_key=True, autoincrement=True),
    Column("wallet", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("boc", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("tx", LargeBinary, nullable=False),
    one_of("state", "queued", "signed", "sent", "skipped", "bounced"),
    UniqueConstraint("wallet", "id"),
    Index(None, "wallet", "state"),
    Index(None, "wallet", "account"),
)
"""`account` is the receiver, `boc` the message, `message` and `tx` the hashes of what left."""

chain_batch = Table(
    "chain_batch",
    metadata,
    Column("at", Serial, primary_key=True, autoincrement=True),
    Column("wallet", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("seqno", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False),
    Column("orders", Text, nullable=False),
    Column("boc", LargeBinary, nullable=False),
    bytes_long("hash", 32),
    Index(None, "wallet"),
)
"""Signed messages whose seqno is not used up; `orders` is a JSON list of ids."""

chain_cursor = Table(
    "chain_cursor",
    metadata,
    Column("wallet", Text, nullable=False),
    Column("reader", Text, nullable=False),
    Column("lt", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("wallet", "reader"),
)
"""Up to where a reader has evaluated the wallet's history."""
