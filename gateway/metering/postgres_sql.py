"""Statements of PostgreSQL that carry many rows, as arrays, and those that lock (SPEC 5).

Locks are taken in one order everywhere: process, claims by c, channels by id, accounts by id,
leases, a key's limits, allowances, usage. Accounts are locked FOR NO KEY UPDATE, which leases'
foreign keys do not wait for.
"""

from gateway.metering import queries
from gateway.metering.queries import for_postgres

FENCE = for_postgres(queries.FENCE) + " FOR SHARE"
DEAD_SLOTS = for_postgres(queries.DEAD_SLOTS) + " FOR UPDATE SKIP LOCKED"

_CLAIM = """
WITH fence AS (
    SELECT slot, epoch FROM process WHERE slot = $1 AND epoch = $2 AND expires_at > NOW_MS FOR SHARE
), input AS (
    SELECT * FROM unnest(
        $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
        $10::text[], $11::text[], $12::int[], $13::bytea[], $14::bytea[], $15::text[], $16::text[],
        $17::text[], $18::text[], $19::boolean[]MORE_ARRAYS
    ) AS r(c, h, id, account, reserve, deadline, tier, model, payer, fee_bps, header, req_ct_hash,
        worker, ticket, offer, key, rationedMORE_NAMES)
), inserted AS (
    INSERT INTO claim (CLAIM_COLUMNS)
    SELECT r.c, r.h, r.id, r.account, fence.slot, fence.epoch, r.reserve, 'open', r.deadline, 1,
        r.worker, NULL, NULL, r.tier, r.model, r.payer, r.fee_bps, r.header, r.req_ct_hash,
        r.worker, r.ticket, r.offer, NOW_MS, r.key, r.rationedMORE_VALUES
    FROM input r CROSS JOIN fence ORDER BY r.c
    ON CONFLICT DO NOTHING RETURNING c
)
SELECT c FROM inserted
"""


def _claim(columns: str, arrays: str = "", names: str = "", values: str = "") -> str:
    filled = _CLAIM.replace("CLAIM_COLUMNS", columns).replace("MORE_ARRAYS", arrays)
    return for_postgres(filled.replace("MORE_NAMES", names).replace("MORE_VALUES", values))


CLAIM = _claim(queries.CLAIM_COLUMNS)

CLAIM_BY_CHANNEL = _claim(
    queries.CHANNEL_CLAIM_COLUMNS, ", $20::text[]", ", channel", ", r.channel"
)

DROP_CLAIMS = "DELETE FROM claim WHERE c = ANY($1::bytea[])"

LOCK_CHANNELS = queries.CHANNELS_IN + "= ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE"

HOLD = """
UPDATE channel SET reserved = r.reserved, ceiling = r.ceiling, ceiling_seqno = r.seqno,
    ceiling_signature = r.signature
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[])
    AS r(reserved, ceiling, seqno, signature, id)
WHERE channel.id = r.id
"""

PAY = """
UPDATE channel SET reserved = channel.reserved - r.reserve, charged = channel.charged + r.charge
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS r(reserve, charge, id)
WHERE channel.id = r.id
"""

CLAIMS_IN = queries.CLAIMS_IN + "= ANY($1::bytea[])"

RETARGET = for_postgres("""
WITH input AS (
    SELECT * FROM unnest($1::bytea[], $2::int[], $3::text[], $4::text[], $5::text[])
        AS r(c, number, worker, ticket, offer)
), locked AS (
    SELECT c FROM claim WHERE c = ANY($1::bytea[]) AND state = 'open' ORDER BY c FOR UPDATE
), last AS (
    SELECT DISTINCT ON (r.c) r.c, r.number, r.worker
    FROM input r JOIN locked USING (c) ORDER BY r.c, r.number DESC
), moved AS (
    UPDATE claim SET attempts = last.number, winner = last.worker
    FROM last WHERE claim.c = last.c AND claim.attempts < last.number
), dispatched AS (
    INSERT INTO attempt (c, number, worker, ticket, offer, dispatched_at)
    SELECT r.c, r.number, r.worker, r.ticket, r.offer, NOW_MS FROM input r JOIN locked USING (c)
    ON CONFLICT DO NOTHING
)
SELECT c FROM locked
""")

LOCK_CLAIMS = queries.CLAIM_STATES + "= ANY($1::bytea[]) ORDER BY c FOR UPDATE"

VERDICTS = """
SELECT statement_hash, disposition, code FROM receipt WHERE c = ANY($1::bytea[])
"""

LOCK_ACCOUNTS = "SELECT id FROM account WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE"

LOCK_LESSEES = """
SELECT id FROM account WHERE id IN (SELECT account FROM lease WHERE slot = ANY($1::int[]))
ORDER BY id FOR NO KEY UPDATE
"""

DELETE_LEASES = "DELETE FROM lease WHERE slot = ANY($1::int[]) RETURNING account"

DELETE_HOLDS = """
DELETE FROM allowance WHERE slot = ANY($1::int[]) AND kind IN ('slots', 'nano')
"""

LOCK_LIMITS = queries.KEY_LIMITS + " FOR NO KEY UPDATE"

SETTLE_CLAIMS = """
UPDATE claim SET state = 'settled', charge = r.charge, statement_hash = r.statement_hash
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS r(charge, statement_hash, c)
WHERE claim.c = r.c
"""

POST = """
UPDATE account SET posted = posted + r.delta
FROM unnest($1::text[], $2::bigint[]) AS r(id, delta) WHERE account.id = r.id
"""

SHRINK_LEASES = """
UPDATE lease SET granted = granted - r.charge
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) AS r(account, slot, epoch, charge)
WHERE lease.account = r.account AND lease.slot = r.slot AND lease.epoch = r.epoch
"""

SHRINK_ALLOWANCES = """
UPDATE allowance SET granted = granted - r.charge
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) AS r(key, slot, epoch, charge)
WHERE allowance.key = r.key AND allowance.kind = 'nano' AND allowance.slot = r.slot
    AND allowance.term = r.epoch
"""

ADD_USAGE = (
    queries.ADD_USAGE
    + """
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
    $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
"""
    + queries.ON_USED
)

INSERT_ENTRIES = """
INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
"""

INSERT_RECEIPTS = """
INSERT INTO receipt (statement_hash, c, id, worker, status, document, disposition, code,
    charge_nano, at)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bytea[],
    $7::text[], $8::text[], $9::bigint[], $10::bigint[])
ON CONFLICT DO NOTHING
"""
