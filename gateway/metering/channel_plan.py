"""What a batch of claims does to the channels that pay them (SPEC 7.6). Pure; both stores write it.

The store has locked the rows; each claim is then held by `acceptance.reserve`, in order, so that
the books hold whatever the database's checks hold, and say why where they refuse.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bombyx.errors import BombyxError, ChannelNotFound
from bombyx.money.channel.acceptance import CLOCK_MARGIN_S, ChannelRow, need, reserve
from gateway.metering.rows import ChannelClaim, Claimed, Conflict, Fenced, StoredClaim, Uncovered

ReserveValues: TypeAlias = tuple[int, int, int, bytes | None, str]
"""reserved, ceiling, its seqno and signature, and the channel: what an update sets."""
Answer: TypeAlias = Claimed | Conflict | Fenced | Uncovered
UNKNOWN = Uncovered(ChannelRow(), ChannelNotFound("the channel is not registered here"))


@dataclass(slots=True)
class Reserves:
    """Which claims are held, why others are not, and the rows that this makes."""

    held: dict[bytes, ChannelClaim] = field(default_factory=dict)
    refused: dict[bytes, Uncovered] = field(default_factory=dict)
    changed: dict[str, ChannelRow] = field(default_factory=dict)

    def values(self) -> list[ReserveValues]:
        """What to write, in the order in which rows are locked."""
        return [
            (row.reserved, held.amount, held.seqno, held.signature or None, channel)
            for channel, row in sorted(self.changed.items())
            for held in (row.ceiling,)
        ]


def plan_reserves(fresh: Iterable[ChannelClaim], rows: Mapping[str, ChannelRow]) -> Reserves:
    """Hold each claim that nobody claimed before, of those with one commitment the first."""
    plan = Reserves()
    for one in fresh:
        claim = one.claim
        row = plan.changed.get(claim.channel) or rows.get(claim.channel)
        if claim.c in plan.held:
            continue
        if row is None:
            plan.refused[claim.c] = UNKNOWN
            continue
        try:
            plan.changed[claim.channel] = reserve(row, claim.reserve, offered=one.offered)
        except BombyxError as error:
            plan.refused[claim.c] = Uncovered(row, error)
        else:
            plan.held[claim.c] = one
    return plan


def answers(
    batch: Iterable[ChannelClaim],
    plan: Reserves,
    stored: Callable[[bytes], StoredClaim | None],
) -> list[Answer]:
    """One for each of the batch; `stored` finds what was claimed before."""
    return [_answer(one, plan, stored) for one in batch]


def _answer(
    one: ChannelClaim, plan: Reserves, stored: Callable[[bytes], StoredClaim | None]
) -> Answer:
    c = one.claim.c
    if plan.held.get(c) is one:
        return Claimed(c)
    found = stored(c)
    if found is not None:
        return Conflict(found)
    return plan.refused.get(c) or Fenced()


def restored(row: ChannelRow, cost: int, *, now: int) -> ChannelRow | None:
    """Hold the reserve of a claim that the database lost; None while the channel cannot cover it.

    It ran, so a channel that is closing pays for it too; but not while our close terms may still be
    executed (SPEC 9.2). A voucher that was lost with it comes again, in the next higher one.
    """
    signed = row.terms_until and now <= row.terms_until + CLOCK_MARGIN_S
    if row.closed or signed or need(row, cost) > min(row.ceiling.amount, row.deposited):
        return None
    return replace(row, reserved=row.reserved + cost)
