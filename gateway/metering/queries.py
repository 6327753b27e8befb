"""SQL that both databases read alike: `$1` and `NOW_MS` are put into each one's spelling.

What they spell differently (locks, many rows in one statement) stands in the stores.
"""

from typing import Any

from gateway.channels.rows import STATE_COLUMNS
from gateway.database import POSTGRES_NOW_MS, SQLITE_NOW_MS
from gateway.metering.port import ORPHAN_SLOT, PROCESS_TTL_MS, REAP_AFTER_MS
from gateway.metering.rows import (
    Disposition,
    RestoredClaim,
    StoredClaim,
    StoredReceipt,
)

OVERDUE_LIMIT = 256


def for_sqlite(query: str) -> str:
    """SQLite's spelling."""
    return query.replace("$", "?").replace("NOW_MS", SQLITE_NOW_MS)


def for_postgres(query: str) -> str:
    """PostgreSQL's spelling."""
    return query.replace("NOW_MS", POSTGRES_NOW_MS)


# --- Processes -----------------------------------------------------------------------------------

OPEN_PROCESS = f"""
INSERT INTO process (slot, epoch, expires_at, link_url, draining)
VALUES ($1, 1, NOW_MS + {PROCESS_TTL_MS}, $2, false)
ON CONFLICT (slot) DO UPDATE SET epoch = process.epoch + 1, expires_at = excluded.expires_at,
    link_url = excluded.link_url, draining = false
RETURNING epoch
"""  # noqa: S608 - only numbers of our own are formatted in

RENEW_PROCESS = f"""
UPDATE process SET expires_at = NOW_MS + {PROCESS_TTL_MS}
WHERE slot = $1 AND epoch = $2 AND expires_at > NOW_MS
RETURNING slot
"""  # noqa: S608

DRAIN_PROCESS = "UPDATE process SET draining = true WHERE slot = $1 AND epoch = $2"

CLOSE_PROCESS = "UPDATE process SET expires_at = 0 WHERE slot = $1 AND epoch = $2 RETURNING slot"

PROCESSES = (
    "SELECT slot, epoch, link_url, draining FROM process WHERE expires_at > NOW_MS ORDER BY slot"
)

FENCE = "SELECT NOW_MS FROM process WHERE slot = $1 AND epoch = $2 AND expires_at > NOW_MS"
"""The clock, for who still owns its slot."""

_HOLDS = "('slots', 'nano')"
"""Allowances that end with their process, as leases do; the others end with their minute."""

DEAD_SLOTS = f"""
SELECT slot FROM process WHERE expires_at < NOW_MS - {REAP_AFTER_MS}
AND (EXISTS (SELECT 1 FROM lease WHERE lease.slot = process.slot)
    OR EXISTS (SELECT 1 FROM allowance WHERE allowance.slot = process.slot AND kind IN {_HOLDS}))
ORDER BY slot
"""  # noqa: S608

DELETE_LEASES = "DELETE FROM lease WHERE slot = $1 RETURNING account"

# --- Leases --------------------------------------------------------------------------------------

_COMMITTED = """
COALESCE((SELECT CAST(SUM(l.granted) AS bigint) FROM lease l WHERE l.account = a.id), 0)
+ COALESCE((SELECT CAST(SUM(c.reserve) AS bigint) FROM claim c
    WHERE c.account = a.id AND c.state = 'open' AND c.channel IS NULL
    AND NOT EXISTS (SELECT 1 FROM lease l
        WHERE l.account = c.account AND l.slot = c.slot AND l.epoch = c.epoch)), 0)
"""
"""Live leases, and reserves of open claims whose lease is gone; not of what channels pay."""

AVAILABLE = f"""
SELECT a.posted - ({_COMMITTED}) AS available,
    COALESCE((SELECT CAST(SUM(l.granted) AS bigint) FROM lease l
        WHERE l.account = a.id AND l.slot <> $2), 0) AS elsewhere
FROM account a WHERE a.id = $1
"""  # noqa: S608

ENLARGE_LEASE = """
INSERT INTO lease (account, slot, epoch, granted) VALUES ($1, $2, $3, $4)
ON CONFLICT (account, slot) DO UPDATE SET granted = lease.granted + excluded.granted
"""

SET_RECALL = "UPDATE account SET recall = true WHERE id = $1"
CLEAR_RECALL = "UPDATE account SET recall = false WHERE id = $1 AND recall"

GIVE_BACK = """
UPDATE lease SET granted = granted - $4 WHERE account = $1 AND slot = $2 AND epoch = $3
"""

RECALLS = """
SELECT l.account FROM lease l JOIN account a ON a.id = l.account
WHERE a.recall AND l.slot = $1 AND l.epoch = $2 AND l.granted > 0 ORDER BY l.account
"""

LEASE_ROOM = """
SELECT l.granted - COALESCE((SELECT CAST(SUM(c.reserve) AS bigint) FROM claim c
    WHERE c.account = l.account AND c.state = 'open' AND c.channel IS NULL
    AND c.slot = l.slot AND c.epoch = l.epoch), 0)
FROM lease l WHERE l.account = $1 AND l.slot = $2 AND l.epoch = $3
"""

# --- Allowances of keys --------------------------------------------------------------------------

KEY_LIMITS = "SELECT requests, tokens, slots, nano FROM key_limit WHERE key = $1"

HELD = f"""
SELECT kind, slot, granted FROM allowance WHERE key = $1 AND (term = $2 OR kind IN {_HOLDS})
"""  # noqa: S608

SPENT = """
SELECT COALESCE((SELECT CAST(SUM(u.charge_nano) AS bigint) FROM usage_day u
    WHERE u.key = $1 AND u.day >= $2), 0)
+ COALESCE((SELECT CAST(SUM(c.reserve) AS bigint) FROM claim c
    WHERE c.account = (SELECT account FROM api_key WHERE id = $1) AND c.key = $1
    AND c.state = 'open' AND NOT (c.rationed AND EXISTS (SELECT 1 FROM allowance a
        WHERE a.key = c.key AND a.kind = 'nano' AND a.slot = c.slot AND a.term = c.epoch))), 0)
"""
"""What this month cost so far, and reserves of open claims that no allowance covers."""

STRAYS = """
SELECT COUNT(*) FROM claim c
WHERE c.account = (SELECT account FROM api_key WHERE id = $1) AND c.key = $1 AND c.state = 'open'
    AND NOT EXISTS (SELECT 1 FROM allowance a
        WHERE a.key = c.key AND a.kind = 'slots' AND a.slot = c.slot AND a.term = c.epoch)
"""
"""Requests that outlived what their process was lent: it was killed, stopped or cut off."""

GRANT_ALLOWANCE = """
INSERT INTO allowance (key, kind, slot, term, granted) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key, kind, slot) DO UPDATE SET term = excluded.term, granted = excluded.granted
    + CASE WHEN allowance.term = excluded.term THEN allowance.granted ELSE 0 END
"""

RETURN_ALLOWANCE = """
UPDATE allowance SET granted = granted - $5
WHERE key = $1 AND kind = $2 AND slot = $3 AND term = $4
"""

SET_KEY_RECALL = "UPDATE key_limit SET recall = true WHERE key = $1"
CLEAR_KEY_RECALL = "UPDATE key_limit SET recall = false WHERE key = $1 AND recall"

KEY_RECALLS = """
SELECT k.key FROM key_limit k WHERE k.recall AND EXISTS (
    SELECT 1 FROM allowance a WHERE a.key = k.key AND a.slot = $1 AND a.granted > 0)
ORDER BY k.key
"""

DELETE_HOLDS = f"DELETE FROM allowance WHERE slot = $1 AND kind IN {_HOLDS}"  # noqa: S608

# --- Claims --------------------------------------------------------------------------------------

_CLAIM = (
    "c, h, id, account, slot, epoch, reserve, state, deadline, attempts, winner, statement_hash, "
    "charge, tier, model, payer, fee_bps, header, req_ct_hash"
)
CLAIM_COLUMNS = f"{_CLAIM}, worker, ticket, offer, created_at, key, rationed"
CHANNEL_CLAIM_COLUMNS = f"{CLAIM_COLUMNS}, channel"

CLAIMS_IN = f"SELECT {_CLAIM} FROM claim WHERE c "  # noqa: S608

INSERT_CLAIM = f"""
INSERT INTO claim ({CHANNEL_CLAIM_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8, $9, $10,
    NULL, NULL, $11, $12, $13, $14, $15, $16, $10, $17, $18, NOW_MS, $19, $20, $21)
ON CONFLICT DO NOTHING RETURNING c
"""  # noqa: S608

CLAIM_STATES = """
SELECT c, account, slot, epoch, reserve, deadline, charge, tier, model, key, rationed, channel
FROM claim WHERE c """

INSERT_ATTEMPT = """
INSERT INTO attempt (c, number, worker, ticket, offer, dispatched_at)
VALUES ($1, $2, $3, $4, $5, NOW_MS) ON CONFLICT DO NOTHING
"""

ATTEMPTS = """
SELECT c, 1 AS number, worker, ticket, offer FROM claim WHERE c = $1
UNION ALL SELECT c, number, worker, ticket, offer FROM attempt WHERE c = $1 ORDER BY number
"""

UNSETTLED_BEFORE = f"""
SELECT {_CLAIM} FROM claim WHERE state = 'open' AND deadline < $1 ORDER BY deadline LIMIT $2
"""  # noqa: S608

OVERDUE = f"""
SELECT {_CLAIM} FROM claim WHERE state = 'open' AND deadline <= NOW_MS AND (
    (slot = $1 AND epoch = $2) OR deadline <= NOW_MS - $3
    OR NOT EXISTS (SELECT 1 FROM process p
        WHERE p.slot = claim.slot AND p.epoch = claim.epoch AND p.expires_at > NOW_MS))
ORDER BY deadline LIMIT {OVERDUE_LIMIT}
"""  # noqa: S608

OPEN_CLAIMS = f"""
SELECT {_CLAIM} FROM claim WHERE state = 'open' AND slot = $1 AND epoch = $2 ORDER BY deadline
"""  # noqa: S608

CLAIMS_BY_ID = f"""
SELECT {_CLAIM} FROM claim WHERE id = $2 AND account = $1 ORDER BY created_at
"""  # noqa: S608

RECEIPTS_OF = """
SELECT statement_hash, c, id, worker, status, document, disposition, code, charge_nano, at
FROM receipt WHERE c = $1 ORDER BY at
"""

# --- Channels ------------------------------------------------------------------------------------

CHANNELS_IN = f"SELECT id, {', '.join(STATE_COLUMNS)} FROM channel WHERE id "  # noqa: S608

UNEVEN_CHANNELS = """
SELECT h.id FROM channel h LEFT JOIN account a ON a.id = 'channel:' || h.id
WHERE h.reserved <> COALESCE((SELECT CAST(SUM(c.reserve) AS bigint) FROM claim c
        WHERE c.state = 'open' AND c.channel = h.id), 0)
    OR COALESCE(a.posted, 0) <> h.deposited - h.charged
        + COALESCE((SELECT CAST(SUM(e.amount_nano) AS bigint) FROM ledger_entry e
            WHERE e.account = a.id AND e.kind = 'payback'), 0)
ORDER BY h.id
"""
"""Reserves are those of open claims; the balance is what was deposited, less charges and what
went back."""

# --- Credentials ---------------------------------------------------------------------------------

FIND_KEY = """
SELECT id, account, scope, requests, tokens, slots, nano, models, key_limit.key
FROM api_key LEFT JOIN key_limit ON key_limit.key = api_key.id
WHERE digest = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > NOW_MS)
"""

BIND_PAYER = "INSERT INTO payer (key, account) VALUES ($1, $2) ON CONFLICT DO NOTHING"
PAYER_ACCOUNT = "SELECT account FROM payer WHERE key = $1"

BIND_RETRY = """
INSERT INTO idempotency (account, key, body_digest, c, created_at)
VALUES ($1, $2, $3, $4, NOW_MS) ON CONFLICT DO NOTHING
"""
REBIND_RETRY = """
UPDATE idempotency SET c = $4 WHERE account = $1 AND key = $2 AND c = $3 RETURNING c
"""
FIND_RETRY = "SELECT account, key, body_digest, c FROM idempotency WHERE account = $1 AND key = $2"

# --- Usage ---------------------------------------------------------------------------------------

ADD_USAGE = """
INSERT INTO usage_day (day, account, key, tier, model, requests, prompt, cached, completion,
    reasoning, charge_nano)
"""
ON_USED = """
ON CONFLICT (day, account, key, tier, model) DO UPDATE SET
    requests = usage_day.requests + excluded.requests,
    prompt = usage_day.prompt + excluded.prompt,
    cached = usage_day.cached + excluded.cached,
    completion = usage_day.completion + excluded.completion,
    reasoning = usage_day.reasoning + excluded.reasoning,
    charge_nano = usage_day.charge_nano + excluded.charge_nano
"""

# --- Accounts of settlements, and audit ----------------------------------------------------------

ENSURE_ACCOUNT = """
INSERT INTO account (id, kind, name, created_at) VALUES ($1, $2, $1, NOW_MS) ON CONFLICT DO NOTHING
"""

CLOCK = "SELECT NOW_MS"

LEDGER_SUM = "SELECT CAST(COALESCE(SUM(amount_nano), 0) AS bigint) FROM ledger_entry"

OVERCOMMITTED = f"""
SELECT a.id FROM account a
WHERE a.kind NOT IN ('issuance', 'chain') AND a.posted < {_COMMITTED} ORDER BY a.id
"""  # noqa: S608

UNPOSTED = """
SELECT COALESCE(a.id, s.account) FROM account a FULL OUTER JOIN (
    SELECT account, SUM(amount_nano) AS total FROM ledger_entry GROUP BY account) s
ON s.account = a.id WHERE COALESCE(a.posted, 0) <> COALESCE(s.total, 0) ORDER BY 1
"""

BILLING_GAP = """
SELECT CAST(
    COALESCE((SELECT -SUM(amount_nano) FROM ledger_entry WHERE kind = 'charge'), 0)
    - COALESCE((SELECT SUM(charge_nano) FROM receipt WHERE disposition = 'billed'), 0) AS bigint)
"""


def stored_claim(row: Any) -> StoredClaim:
    """Read a row of the claim columns."""
    values = list(row)
    values[7] = values[7] == "settled"
    return StoredClaim(*values)


def stored_receipt(row: Any) -> StoredReceipt:
    """Read a row of `RECEIPTS_OF`."""
    values = list(row)
    values[6] = Disposition(values[6])
    return StoredReceipt(*values)


def claim_values(row: RestoredClaim, owner: tuple[int, int] | None) -> tuple[Any, ...]:
    """Arguments of `INSERT_CLAIM`; without an owner the claim is an orphan."""
    new = row.claim
    slot, epoch = owner or (ORPHAN_SLOT, 0)
    return (
        *(new.c, new.h, new.id, new.account, slot, epoch, new.reserve, new.deadline),
        *(row.attempts, new.worker, new.tier, new.model, new.payer, new.fee_bps, new.header),
        *(new.req_ct_hash, new.ticket, new.offer, new.key, new.rationed and owner is not None),
        new.channel or None,
    )
