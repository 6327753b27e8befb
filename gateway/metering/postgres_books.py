"""The transactions of PostgreSQL that move money; each runs on a connection inside a transaction.

Every step that follows a lock is its own statement: under READ COMMITTED it then sees what the
holders before it committed.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bombyx.money.channel.acceptance import ChannelRow
from gateway.channels.rows import state_of_values
from gateway.metering import postgres_sql as sql
from gateway.metering import queries
from gateway.metering.channel_plan import Reserves, plan_reserves, restored
from gateway.metering.port import ORPHAN_SLOT, grant_size
from gateway.metering.queries import for_postgres, stored_claim
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
    VerdictRow,
)
from gateway.metering.settlement import (
    ClaimState,
    Plan,
    Verdict,
    plan_settlement,
    plan_verdicts,
)


def columns(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows turned into the arrays that `unnest` takes."""
    return list(zip(*rows, strict=True))


def claim_values(row: NewClaim) -> tuple[Any, ...]:
    """A row of `CLAIM`."""
    return (
        *(row.c, row.h, row.id, row.account, row.reserve, row.deadline, row.tier, row.model),
        *(row.payer, row.fee_bps, row.header, row.req_ct_hash),
        *(row.worker, row.ticket, row.offer, row.key, row.rationed),
    )


async def claim_by_channel(
    connection: Any, slot: int, epoch: int, batch: Collection[ChannelClaim]
) -> Reserves:
    """Insert claims, hold what channels cover, and take back the claims that they do not."""
    arrays = columns([(*claim_values(one.claim), one.claim.channel) for one in batch])
    inserted = {
        row[0] for row in await connection.fetch(sql.CLAIM_BY_CHANNEL, slot, epoch, *arrays)
    }
    fresh = [one for one in batch if one.claim.c in inserted]
    plan = plan_reserves(fresh, await _lock_channels(connection, (o.claim.channel for o in fresh)))
    if plan.refused:
        await connection.execute(sql.DROP_CLAIMS, list(plan.refused))
    if plan.changed:
        await connection.execute(sql.HOLD, *columns(plan.values()))
    return plan


async def _lock_channels(connection: Any, ids: Iterable[str]) -> dict[str, ChannelRow]:
    rows = await connection.fetch(sql.LOCK_CHANNELS, sorted(set(ids)))
    return {row[0]: state_of_values(list(row)[1:]) for row in rows}


async def _available(connection: Any, account: str, slot: int) -> tuple[int, int] | None:
    await connection.fetch(sql.LOCK_ACCOUNTS, [account])
    row = await connection.fetchrow(queries.AVAILABLE, account, slot)
    return (row[0], row[1]) if row is not None else None


async def grant(
    connection: Any, account: str, slot: int, *, epoch: int, need: int, processes: int
) -> Granted | Shortage | Fenced:
    """Enlarge a lease."""
    if await connection.fetchval(sql.FENCE, slot, epoch) is None:
        return Fenced()
    available, elsewhere = await _available(connection, account, slot) or (0, 0)
    amount = grant_size(need, available, processes)
    if amount < need:
        await connection.execute(queries.SET_RECALL, account)
        return Shortage(available, elsewhere)
    await connection.execute(queries.ENLARGE_LEASE, account, slot, epoch, amount)
    await connection.execute(queries.CLEAR_RECALL, account)
    return Granted(amount)


async def ration(
    connection: Any, key: str, slot: int, *, epoch: int, needs: Amounts, processes: int
) -> Rationed | Fenced:
    """Enlarge a key's allowances.

    What is held is read before what was spent and what strays: a settlement in between, or the end
    of a loan, which moves one to the other, then counts twice for a moment and never not at all.
    """
    if await connection.fetchval(sql.FENCE, slot, epoch) is None:
        return Fenced()
    limits = await connection.fetchrow(sql.LOCK_LIMITS, key)
    now = await connection.fetchval(for_postgres(queries.CLOCK))
    asked = Asked(slot, epoch, needs, processes, now)
    if limits is None:
        return unlimited(asked)
    held = await connection.fetch(queries.HELD, key, asked.minute)
    strays = spent = 0
    if limits[SLOTS] is not None:
        strays = await connection.fetchval(queries.STRAYS, key)
    if limits[NANO] is not None:
        spent = await connection.fetchval(queries.SPENT, key, asked.month_day)
    rows = [tuple(row) for row in held]
    plan = plan_ration(asked, tuple(limits), rows, strays=strays, spent=spent)
    for kind, term, amount in plan.grants:
        await connection.execute(queries.GRANT_ALLOWANCE, key, kind, slot, term, amount)
    if plan.grants:
        await connection.execute(queries.CLEAR_KEY_RECALL, key)
    if plan.recall:
        await connection.execute(queries.SET_KEY_RECALL, key)
    return plan.answer


async def take_leases(connection: Any, slots: Sequence[int]) -> int:
    """Delete the leases of slots whose process rows are locked."""
    await connection.fetch(sql.LOCK_LESSEES, slots)
    await connection.execute(sql.DELETE_HOLDS, slots)
    return len(await connection.fetch(sql.DELETE_LEASES, slots))


async def _read(
    connection: Any, cs: Sequence[bytes]
) -> tuple[dict[bytes, ClaimState], dict[bytes, Verdict], int]:
    rows = await connection.fetch(sql.LOCK_CLAIMS, cs)
    claims = {row[0]: ClaimState(*list(row)[1:]) for row in rows}
    found = await connection.fetch(sql.VERDICTS, cs)
    verdicts = {row[0]: Verdict(Disposition(row[1]), row[2]) for row in found}
    return claims, verdicts, await connection.fetchval(for_postgres(queries.CLOCK))


async def settle(connection: Any, batch: Sequence[SettlementRow]) -> list[Outcome]:
    """Settle what is open and book it."""
    claims, verdicts, now = await _read(connection, [row.c for row in batch])
    plan = plan_settlement(batch, claims, verdicts, now=now)
    await _book(connection, plan)
    return plan.outcomes


async def _book(connection: Any, plan: Plan) -> None:
    if plan.settled:
        await connection.execute(sql.SETTLE_CLAIMS, *columns(plan.settled))
    if plan.channels:
        paid = [(*sums, channel) for channel, sums in sorted(plan.channels.items())]
        await _lock_channels(connection, plan.channels)
        await connection.execute(sql.PAY, *columns(paid))
    if plan.entries:
        accounts = sorted(plan.accounts.items())
        await connection.fetch(sql.LOCK_ACCOUNTS, [account for account, _ in accounts])
        await connection.execute(sql.POST, *columns(accounts))
        if plan.leases:
            leases = [(*key, charge) for key, charge in plan.leases.items()]
            await connection.execute(sql.SHRINK_LEASES, *columns(leases))
        await connection.execute(sql.INSERT_ENTRIES, *columns(plan.entries))
    if plan.allowances:
        shrunk = sorted((*key, charge) for key, charge in plan.allowances.items())
        await connection.execute(sql.SHRINK_ALLOWANCES, *columns(shrunk))
    if plan.usage:
        # Sorted: two batches without a common account may still meet on a row.
        used = sorted((*where, *added) for where, added in plan.usage.items())
        await connection.execute(sql.ADD_USAGE, *columns(used))
    if plan.receipts:
        await connection.execute(sql.INSERT_RECEIPTS, *columns(plan.receipts))


async def record(connection: Any, batch: Sequence[VerdictRow]) -> list[Outcome]:
    """Store verdicts; the lock on the claims keeps settlements of the same statements apart."""
    claims, verdicts, now = await _read(connection, [row.c for row in batch])
    charges = {c: state.charge for c, state in claims.items()}
    plan = plan_verdicts(batch, charges, verdicts, now=now)
    if plan.receipts:
        await connection.execute(sql.INSERT_RECEIPTS, *columns(plan.receipts))
    return plan.outcomes


async def restore(connection: Any, row: RestoredClaim) -> Claimed | Conflict | Shortage | Expired:
    """Insert a claim that was lost, under the lease that covers it or as an orphan."""
    new = row.claim
    if new.channel:
        return await _restore_by_channel(connection, row)
    found = await _available(connection, new.account, ORPHAN_SLOT)
    stored = await connection.fetchrow(sql.CLAIMS_IN, [new.c])
    if stored is not None:
        return Conflict(stored_claim(stored))
    if new.deadline <= await connection.fetchval(for_postgres(queries.CLOCK)):
        return Expired()
    owner = await _covering(connection, row)
    if owner is None and (found is None or found[0] < new.reserve):
        await connection.execute(queries.SET_RECALL, new.account)
        return Shortage(*(found or (0, 0)))
    inserted = await connection.fetchval(
        for_postgres(queries.INSERT_CLAIM), *queries.claim_values(row, owner)
    )
    if inserted is None:
        stored = await connection.fetchrow(sql.CLAIMS_IN, [new.c])
        return Conflict(stored_claim(stored))
    return Claimed(new.c)


async def _restore_by_channel(
    connection: Any, row: RestoredClaim
) -> Claimed | Conflict | Shortage | Expired:
    """The claim before its channel: everyone locks in that order."""
    new = row.claim
    now = await connection.fetchval(for_postgres(queries.CLOCK))
    values = queries.claim_values(row, row.owner)
    if await connection.fetchval(for_postgres(queries.INSERT_CLAIM), *values) is None:
        return Conflict(stored_claim(await connection.fetchrow(sql.CLAIMS_IN, [new.c])))
    before = (await _lock_channels(connection, [new.channel])).get(new.channel)
    after = restored(before, new.reserve, now=now // 1000) if before is not None else None
    if new.deadline <= now or after is None:
        await connection.execute(sql.DROP_CLAIMS, [new.c])
        return Expired() if new.deadline <= now else Shortage(0)
    plan = Reserves(changed={new.channel: after})
    await connection.execute(sql.HOLD, *columns(plan.values()))
    return Claimed(new.c)


async def _covering(connection: Any, row: RestoredClaim) -> tuple[int, int] | None:
    if row.owner is None or await connection.fetchval(sql.FENCE, *row.owner) is None:
        return None
    room = await connection.fetchval(queries.LEASE_ROOM, row.claim.account, *row.owner)
    return row.owner if room is not None and room >= row.claim.reserve else None
