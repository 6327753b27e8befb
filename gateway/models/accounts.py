"""Accounts, their keys and the ledger (SPEC 5; DESIGN 8).

`account.posted` is the sum of the account's ledger entries, kept beside them so that a reserve
reads one row. Only `issuance`, where credit comes from, and a chain may be negative. The ledger is
double-entry and append-only: triggers refuse UPDATE and DELETE. The (txn, account) of whatever
comes or goes is unique, so no deposit is booked twice; settlements are guarded by the state of
their claim instead, since a random key of three rows each would cost them more than all else. Ids
grow with time, which is the key that partitions would be cut along.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    event,
    false,
    text,
)

from gateway.models.metadata import (
    Amount,
    Milliseconds,
    Serial,
    bytes_long,
    metadata,
    not_negative,
    one_of,
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("posted", Amount, nullable=False, server_default="0"),
    Column("recall", Boolean, nullable=False, server_default=false()),
    Column("created_at", Milliseconds, nullable=False),
    Column("closed_at", Milliseconds),
    one_of("kind", "client", "worker", "gateway", "issuance", "channel", "chain", "payout"),
    CheckConstraint("posted >= 0 OR kind IN ('issuance', 'chain')", name="posted_not_negative"),
)
"""`channel:<its account in hex>` pays what its channel pays; `chain:<global id>` is where deposits
come from and what is paid out goes to; `payout:<its account in hex>` is what vouchers of a payout
channel name and nobody has claimed yet."""

_RECALLED = text("recall")

Index("ix_account_recall", account.c.id, sqlite_where=_RECALLED, postgresql_where=_RECALLED)

_ONCE = text("kind IN ('credit', 'deposit', 'payback', 'withdrawal', 'voucher', 'payout')")

MOVED = text("kind IN ('deposit', 'withdrawal')")
"""Money that came from an address or went to one, which is the entry's `ref`."""

ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("txn", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("amount_nano", Amount, nullable=False),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("at", Milliseconds, nullable=False),
    one_of(
        "kind",
        "credit",
        "charge",
        "earning",
        "fee",
        "deposit",
        "payback",
        "withdrawal",
        "voucher",
        "payout",
    ),
    Index(
        "uq_ledger_entry_credit",
        "txn",
        "account",
        unique=True,
        sqlite_where=_ONCE,
        postgresql_where=_ONCE,
    ),
    Index(None, "account", "id"),
    Index("ix_ledger_entry_moved", "account", "ref", sqlite_where=MOVED, postgresql_where=MOVED),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_at", Milliseconds, nullable=False),
    Column("expires_at", Milliseconds),
    Column("revoked_at", Milliseconds),
    Column("scope", Text, nullable=False),
    bytes_long("digest", 32),
    one_of("scope", "inference", "admin"),
)

key_limit = Table(
    "key_limit",
    metadata,
    Column("key", Text, ForeignKey("api_key.id"), primary_key=True),
    Column("requests", BigInteger),
    Column("tokens", BigInteger),
    Column("slots", BigInteger),
    Column("nano", Amount),
    Column("models", Text),
    Column("recall", Boolean, nullable=False, server_default=false()),
    *(not_negative(limit) for limit in ("requests", "tokens", "slots", "nano")),
)
"""What a key may use: requests and tokens a minute, requests at once, nano a month; NULL: no limit.

`models` is a JSON list, NULL for all. `recall` asks processes to return what they hold free.
"""

Index("ix_key_limit_recall", key_limit.c.key, sqlite_where=_RECALLED, postgresql_where=_RECALLED)

payer = Table(
    "payer",
    metadata,
    Column("key", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
)

APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER ledger_entry_no_{verb} BEFORE {verb.upper()} ON ledger_entry "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        for verb in ("update", "delete")
    ),
    "postgresql": (
        (
            "CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
        ),
        (
            "CREATE TRIGGER ledger_entry_append_only BEFORE UPDATE OR DELETE ON ledger_entry "
            "FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only()"
        ),
    ),
}

for _dialect, _statements in APPEND_ONLY.items():
    for _statement in _statements:
        _trigger = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(ledger_entry, "after_create", _trigger.execute_if(dialect=_dialect))
