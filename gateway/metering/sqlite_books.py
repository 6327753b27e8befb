"""The transactions of SQLite that move money; run by `SqliteThread`, one at a time.

SQLite has one writer, so reading first and writing then needs no row locks.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from bombyx.money.channel.acceptance import ChannelRow
from gateway.channels.rows import state_of_values
from gateway.metering import queries
from gateway.metering.channel_plan import Answer, Reserves, answers, plan_reserves, restored
from gateway.metering.port import ORPHAN_SLOT, grant_size
from gateway.metering.queries import for_sqlite, stored_claim
from gateway.metering.rationing import NANO, SLOTS, Asked, plan_ration, unlimited
from gateway.metering.rows import (
    Amounts,
    ChannelClaim,
    Claimed,
    Conflict,
    Disposition,
    Expired,
    Fenced,
    Granted,
    NewClaim,
    Outcome,
    Rationed,
    RestoredClaim,
    SettlementRow,
    Shortage,
    StoredClaim,
    VerdictRow,
)
from gateway.metering.settlement import (
    ClaimState,
    Plan,
    Verdict,
    kind_of,
    plan_settlement,
    plan_verdicts,
)
from gateway.metering.sqlite_rows import ManyRows

_FENCE = for_sqlite(queries.FENCE)
_CLOCK = for_sqlite(queries.CLOCK)
_AVAILABLE = for_sqlite(queries.AVAILABLE)
_ENLARGE = for_sqlite(queries.ENLARGE_LEASE)
_SET_RECALL = for_sqlite(queries.SET_RECALL)
_CLEAR_RECALL = for_sqlite(queries.CLEAR_RECALL)
_LEASE_ROOM = for_sqlite(queries.LEASE_ROOM)
_KEY_LIMITS = for_sqlite(queries.KEY_LIMITS)
_HELD = for_sqlite(queries.HELD)
_SPENT = for_sqlite(queries.SPENT)
_STRAYS = for_sqlite(queries.STRAYS)
_GRANT_ALLOWANCE = for_sqlite(queries.GRANT_ALLOWANCE)
_SET_KEY_RECALL = for_sqlite(queries.SET_KEY_RECALL)
_CLEAR_KEY_RECALL = for_sqlite(queries.CLEAR_KEY_RECALL)
_INSERT_CLAIM = for_sqlite(queries.INSERT_CLAIM)
_ENSURE_ACCOUNT = for_sqlite(queries.ENSURE_ACCOUNT)

_INSERT_CLAIMS = ManyRows(
    f"INSERT INTO claim ({queries.CLAIM_COLUMNS}) VALUES",
    "(?,?,?,?,?,?,?,'open',?,1,?,NULL,NULL,?,?,?,?,?,?,?,?,?,?,?,?)",
    "ON CONFLICT DO NOTHING",
)
_INSERT_CHANNEL_CLAIMS = ManyRows(
    f"INSERT INTO claim ({queries.CHANNEL_CLAIM_COLUMNS}) VALUES",
    "(?,?,?,?,?,?,?,'open',?,1,?,NULL,NULL,?,?,?,?,?,?,?,?,?,?,?,?,?)",
)
_HOLD = (
    "UPDATE channel SET reserved = ?, ceiling = ?, ceiling_seqno = ?, ceiling_signature = ? "
    "WHERE id = ?"
)
_SETTLE_CLAIMS = ManyRows(
    "UPDATE claim SET state = 'settled', charge = v.column1, statement_hash = v.column2 "
    "FROM (VALUES",
    "(?,?,?)",
    ") AS v WHERE claim.c = v.column3",
)
_INSERT_RECEIPTS = ManyRows(
    "INSERT INTO receipt (statement_hash, c, id, worker, status, document, disposition, code, "
    "charge_nano, at) VALUES",
    "(?,?,?,?,?,?,?,?,?,?)",
)
_INSERT_ENTRIES = ManyRows(
    "INSERT INTO ledger_entry (txn, account, amount_nano, kind, ref, at) VALUES", "(?,?,?,?,?,?)"
)

_ADD_USAGE = ManyRows(queries.ADD_USAGE + "VALUES", "(?,?,?,?,?,?,?,?,?,?,?)", queries.ON_USED)


def clock(connection: sqlite3.Connection) -> int:
    """The database's clock, unix ms."""
    now: int = connection.execute(_CLOCK).fetchone()[0]
    return now


def _clock_of_owner(connection: sqlite3.Connection, slot: int, epoch: int) -> int | None:
    """The database's clock, None for who no longer owns the slot."""
    row = connection.execute(_FENCE, (slot, epoch)).fetchone()
    return None if row is None else row[0]


def _in(count: int) -> str:
    return "IN (" + ",".join("?" * count) + ")"


def read_claims(connection: sqlite3.Connection, cs: Sequence[bytes]) -> dict[bytes, StoredClaim]:
    """Claims by commitment."""
    rows = connection.execute(queries.CLAIMS_IN + _in(len(cs)), cs)
    return {row[0]: stored_claim(row) for row in rows}


class SomeExist(Exception):
    """Raised where a batch of claims holds one that exists: nothing of it was inserted."""


def claim_new(
    connection: sqlite3.Connection, slot: int, epoch: int, batch: Sequence[NewClaim]
) -> list[Claimed | Conflict | Fenced]:
    """Insert all rows at once; raises `SomeExist`, after which the transaction must go back."""
    now = _clock_of_owner(connection, slot, epoch)
    if now is None:
        return claim_singly(connection, slot, epoch, batch)
    rows = [_values(row, slot, epoch, now) for row in batch]
    if _INSERT_CLAIMS.run(connection, rows) != len(rows):
        raise SomeExist
    return [Claimed(row.c) for row in batch]


def claim_singly(
    connection: sqlite3.Connection, slot: int, epoch: int, batch: Sequence[NewClaim]
) -> list[Claimed | Conflict | Fenced]:
    """Insert the rows that do not exist, and tell of those that do."""
    now = _clock_of_owner(connection, slot, epoch)
    answers: list[Claimed | Conflict | Fenced] = []
    for row in batch:
        stored = read_claims(connection, [row.c])
        if row.c in stored:
            answers.append(Conflict(stored[row.c]))
        elif now is None:
            answers.append(Fenced())
        else:
            _INSERT_CLAIMS.run(connection, [_values(row, slot, epoch, now)])
            answers.append(Claimed(row.c))
    return answers


def _values(row: NewClaim, slot: int, epoch: int, now: int) -> tuple[Any, ...]:
    return (
        *(row.c, row.h, row.id, row.account, slot, epoch, row.reserve, row.deadline),
        *(row.worker, row.tier, row.model, row.payer, row.fee_bps, row.header),
        *(row.req_ct_hash, row.worker, row.ticket, row.offer, now, row.key, row.rationed),
    )


def _channels(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, ChannelRow]:
    keys = list(set(ids))
    rows = connection.execute(queries.CHANNELS_IN + _in(len(keys)), keys)
    return {row[0]: state_of_values(row[1:]) for row in rows}


def claim_by_channel(
    connection: sqlite3.Connection, slot: int, epoch: int, batch: Sequence[ChannelClaim]
) -> list[Answer]:
    """Hold what channels cover and insert those claims: there is one writer, so reading is safe."""
    stored = read_claims(connection, [one.claim.c for one in batch])
    plan = Reserves()
    now = _clock_of_owner(connection, slot, epoch)
    if now is not None:
        rows = _channels(connection, (one.claim.channel for one in batch))
        plan = plan_reserves((one for one in batch if one.claim.c not in stored), rows)
        claims = [one.claim for one in plan.held.values()]
        _INSERT_CHANNEL_CLAIMS.run(
            connection, [(*_values(row, slot, epoch, now), row.channel) for row in claims]
        )
        connection.executemany(_HOLD, plan.values())
    if len(plan.held) != len(batch):
        stored = read_claims(connection, [one.claim.c for one in batch])
    return answers(batch, plan, stored.get)


def grant(
    connection: sqlite3.Connection,
    account: str,
    slot: int,
    *,
    epoch: int,
    need: int,
    processes: int,
) -> Granted | Shortage | Fenced:
    """Enlarge a lease."""
    if _clock_of_owner(connection, slot, epoch) is None:
        return Fenced()
    row = connection.execute(_AVAILABLE, (account, slot)).fetchone()
    available, elsewhere = row or (0, 0)
    amount = grant_size(need, available, processes)
    if amount < need:
        connection.execute(_SET_RECALL, (account,))
        return Shortage(available, elsewhere)
    connection.execute(_ENLARGE, (account, slot, epoch, amount))
    connection.execute(_CLEAR_RECALL, (account,))
    return Granted(amount)


def ration(
    connection: sqlite3.Connection,
    key: str,
    slot: int,
    *,
    epoch: int,
    needs: Amounts,
    processes: int,
) -> Rationed | Fenced:
    """Enlarge a key's allowances."""
    now = _clock_of_owner(connection, slot, epoch)
    if now is None:
        return Fenced()
    asked = Asked(slot, epoch, needs, processes, now)
    limits = connection.execute(_KEY_LIMITS, (key,)).fetchone()
    if limits is None:
        return unlimited(asked)
    held = connection.execute(_HELD, (key, asked.minute)).fetchall()
    strays = spent = 0
    if limits[SLOTS] is not None:
        strays = connection.execute(_STRAYS, (key,)).fetchone()[0]
    if limits[NANO] is not None:
        spent = connection.execute(_SPENT, (key, asked.month_day)).fetchone()[0]
    plan = plan_ration(asked, limits, held, strays=strays, spent=spent)
    for kind, term, amount in plan.grants:
        connection.execute(_GRANT_ALLOWANCE, (key, kind, slot, term, amount))
    if plan.grants:
        connection.execute(_CLEAR_KEY_RECALL, (key,))
    if plan.recall:
        connection.execute(_SET_KEY_RECALL, (key,))
    return plan.answer


def _states(connection: sqlite3.Connection, cs: Iterable[bytes]) -> dict[bytes, ClaimState]:
    keys = list(set(cs))
    rows = connection.execute(
        queries.CLAIM_STATES + _in(len(keys)),
        keys,
    )
    return {row[0]: ClaimState(*row[1:]) for row in rows}


def _verdicts(connection: sqlite3.Connection, cs: Iterable[bytes]) -> dict[bytes, Verdict]:
    keys = list(set(cs))
    rows = connection.execute(
        "SELECT statement_hash, disposition, code FROM receipt WHERE c "  # noqa: S608
        + _in(len(keys)),
        keys,
    )
    return {row[0]: Verdict(Disposition(row[1]), row[2]) for row in rows}


def settle(connection: sqlite3.Connection, batch: Sequence[SettlementRow]) -> list[Outcome]:
    """Settle what is open and book it."""
    states = _states(connection, (row.c for row in batch))
    verdicts = _verdicts(connection, (row.c for row in batch))
    plan = plan_settlement(batch, states, verdicts, now=clock(connection))
    _book(connection, plan)
    return plan.outcomes


def record(connection: sqlite3.Connection, batch: Sequence[VerdictRow]) -> list[Outcome]:
    """Store verdicts."""
    states = _states(connection, (row.c for row in batch))
    verdicts = _verdicts(connection, (row.c for row in batch))
    charges = {c: state.charge for c, state in states.items()}
    plan = plan_verdicts(batch, charges, verdicts, now=clock(connection))
    _INSERT_RECEIPTS.run(connection, plan.receipts)
    return plan.outcomes


def _book(connection: sqlite3.Connection, plan: Plan) -> None:
    _SETTLE_CLAIMS.run(connection, plan.settled)
    deltas = [(delta, account) for account, delta in sorted(plan.accounts.items())]
    post = "UPDATE account SET posted = posted + ? WHERE id = ?"
    for delta in deltas:
        if connection.execute(post, delta).rowcount != 1:
            connection.execute(_ENSURE_ACCOUNT, (delta[1], kind_of(delta[1])))
            connection.execute(post, delta)
    connection.executemany(
        "UPDATE channel SET reserved = reserved - ?, charged = charged + ? WHERE id = ?",
        [(*paid, channel) for channel, paid in plan.channels.items()],
    )
    connection.executemany(
        "UPDATE lease SET granted = granted - ? WHERE account = ? AND slot = ? AND epoch = ?",
        [(charge, *key) for key, charge in plan.leases.items()],
    )
    connection.executemany(
        "UPDATE allowance SET granted = granted - ? "
        "WHERE key = ? AND kind = 'nano' AND slot = ? AND term = ?",
        [(charge, *key) for key, charge in plan.allowances.items()],
    )
    _ADD_USAGE.run(connection, [(*where, *added) for where, added in plan.usage.items()])
    _INSERT_ENTRIES.run(connection, plan.entries)
    _INSERT_RECEIPTS.run(connection, plan.receipts)


def restore(
    connection: sqlite3.Connection, row: RestoredClaim
) -> Claimed | Conflict | Shortage | Expired:
    """Insert a claim that was lost, under the lease that covers it or as an orphan."""
    new = row.claim
    stored = read_claims(connection, [new.c])
    if new.c in stored:
        return Conflict(stored[new.c])
    now = clock(connection)
    if new.deadline <= now:
        return Expired()
    if new.channel:
        return _restore_by_channel(connection, row, now)
    owner = _covering(connection, row)
    if owner is None:
        found = connection.execute(_AVAILABLE, (new.account, ORPHAN_SLOT)).fetchone()
        available, elsewhere = found or (0, 0)
        if found is None or available < new.reserve:
            connection.execute(_SET_RECALL, (new.account,))
            return Shortage(available, elsewhere)
    connection.execute(_INSERT_CLAIM, queries.claim_values(row, owner)).fetchall()
    return Claimed(new.c)


def _restore_by_channel(
    connection: sqlite3.Connection, row: RestoredClaim, now: int
) -> Claimed | Shortage:
    new = row.claim
    before = _channels(connection, [new.channel]).get(new.channel)
    after = restored(before, new.reserve, now=now // 1000) if before is not None else None
    if after is None:
        return Shortage(0)
    connection.execute(
        "UPDATE channel SET reserved = ? WHERE id = ?", (after.reserved, new.channel)
    )
    connection.execute(_INSERT_CLAIM, queries.claim_values(row, row.owner)).fetchall()
    return Claimed(new.c)


def _covering(connection: sqlite3.Connection, row: RestoredClaim) -> tuple[int, int] | None:
    if row.owner is None:
        return None
    room = connection.execute(_LEASE_ROOM, (row.claim.account, *row.owner)).fetchone()
    return row.owner if room is not None and room[0] >= row.claim.reserve else None
