"""One look at all that is owed to an owner, and claims of what is worth it (SPEC 8.6).

The chain is read by quorum. An order to the wallet is named by what it claims and where the channel
stood: whatever crashes, one claim is sent.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bombyx.errors import BombyxError, SetupError
from bombyx.money.channel.closing import PayoutView, payout_claim_due
from bombyx.money.channel.payout import owner_gap
from bombyx.money.channel.payout_documents import SeenPayout
from bombyx.money.channel.terms import network_text
from ton.chain.port import ChainClient
from ton.channels import orders
from ton.channels.costs import claim_cost
from ton.channels.history import event_of
from ton.channels.seen import Seen, look
from ton.owner.folders import folders
from ton.owner.payouts.files import Payable, read_folders, write_seen
from ton.wallet.outbox import Order
from ton.wallet.wallet import Wallet

SECONDS: Final = 120.0
"""For a claim to leave the wallet, and for its effect: some blocks each, and a slow provider."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A channel and what the chain shows of it; None while it is not deployed or not to be seen."""

    payable: Payable
    seen: Seen | None
    trouble: str = ""

    @property
    def claimable(self) -> int:
        """What a claim would bring now, before its cost."""
        if self.seen is None or self.seen.closed:
            return 0
        return max(min(self.payable.best.amount, self.seen.deposited) - self.seen.claimed, 0)

    @property
    def gap(self) -> int:
        """Billed to this owner's workers, and in no voucher."""
        return owner_gap(self.payable.billed, self.payable.best)

    @property
    def uncovered(self) -> int:
        """In vouchers, and beyond what the gateway deposited."""
        deposited = 0 if self.seen is None else self.seen.deposited
        return max(self.payable.best.amount - deposited, 0)

    @property
    def state(self) -> str:
        """One word."""
        if self.seen is None:
            return "unseen" if self.trouble else "absent"
        if self.seen.closed:
            return "closed"
        return "closing" if self.seen.close_at else "open"

    def due(self, *, cost: int, all_: bool = False) -> int | None:
        """The total to claim now; `all_`: also what is not worth a hundred times its cost."""
        if self.seen is None or self.seen.closed:
            return None
        if all_:
            return self.payable.best.amount if self.claimable > cost else None
        view = PayoutView(self.seen.deposited, self.seen.claimed, self.seen.close_at)
        return payout_claim_due(self.payable.best, view, cost=cost)

    def document(self) -> dict[str, Any]:
        """For programs; amounts are strings."""
        payable, seen = self.payable, self.seen
        return {
            "gateway": payable.gateway,
            "network": network_text(payable.channel.network),
            "channel": payable.channel.account.hex(),
            "state": self.state,
            "current": payable.is_current,
            "billed_nano": str(payable.billed),
            "voucher_nano": str(payable.best.amount),
            "gap_nano": str(self.gap),
            "deposited_nano": str(0 if seen is None else seen.deposited),
            "claimed_nano": str(0 if seen is None else seen.claimed),
            "claimable_nano": str(self.claimable),
            "uncovered_nano": str(self.uncovered),
            "close_at": 0 if seen is None else seen.close_at,
            "trouble": self.trouble or None,
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that took effect: the new total, what it brought, and the channel's transaction."""

    channel: str
    amount: int
    paid: int
    transaction: str
    gas_used: int
    exit_code: int

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "channel": self.channel,
            "amount_nano": str(self.amount),
            "paid_nano": str(self.paid),
            "tx": self.transaction,
            "gas_used": self.gas_used,
            "exit_code": self.exit_code,
        }


class Owner:
    """The workers of these state folders, or in them, on one chain; `unix` tells the time here."""

    def __init__(
        self, chain: ChainClient, named: Sequence[Path], *, unix: Callable[[], int]
    ) -> None:
        self._chain = chain
        self._named = list(named)
        self._unix = unix

    async def look(self) -> list[Standing]:
        """Everything as it stands; workers are told what the chain shows. Raises `SetupError`."""
        workers = await asyncio.to_thread(folders, self._named)
        payables = await asyncio.to_thread(read_folders, workers)
        mine = [one for one in payables if one.channel.network == self._chain.network]
        standings = list(await asyncio.gather(*map(self._see, mine)))
        for folder in workers:
            seen = [_told(one) for one in standings if folder in one.payable.folders and one.seen]
            await asyncio.to_thread(write_seen, folder, seen, at=self._unix())
        return standings

    async def _see(self, payable: Payable) -> Standing:
        try:
            return Standing(payable, await look(self._chain, payable.channel))
        except BombyxError as error:
            # One channel's trouble, or its provider's, is not the others'.
            return Standing(payable, None, error.message)

    async def claim(
        self, wallet: Wallet, *, all_: bool = False, only: str = "", seconds: float = SECONDS
    ) -> list[Claim]:
        """Claim what is due in one message of the wallet, and wait for what comes of it.

        Only channels that pay this very wallet; with `only` (how one begins, hex) that one, however
        little it brings. Raises `SetupError`, `WalletShort`, `OrderFailed`, `NotSeen`.
        """
        standings = [
            one for one in await self.look() if one.payable.channel.config.gateway == wallet.account
        ]
        due = _just(standings, only) if only else self._due(standings, all_=all_)
        waiting: list[tuple[Standing, int, Order]] = []
        for one, total in due:
            waiting.append((one, total, await self._order(wallet, one, total)))
        return [
            await self._effect(wallet, one, total, order, seconds=seconds)
            for one, total, order in waiting
        ]

    def _due(self, standings: list[Standing], *, all_: bool) -> list[tuple[Standing, int]]:
        """Together they are cheaper, so that more of them may be worth it."""
        cost, due = claim_cost(), list[tuple[Standing, int]]()
        for _ in range(2):
            due = []
            for one in standings:
                total = one.due(cost=cost, all_=all_)
                if total is not None:
                    due.append((one, total))
            cost = claim_cost(batched=max(len(due), 1))
        return due

    async def _order(self, wallet: Wallet, one: Standing, total: int) -> Order:
        channel, seen = one.payable.channel, one.seen
        at = 0 if seen is None else seen.last.lt
        claims = f"claim:{channel.network}:{channel.account.hex()}:"
        order_id = await wallet.untried(f"{claims}{total}:{at}")
        # A wallet without gas would keep one for each rise of the total, and later send them all.
        await wallet.withdraw(claims, but=order_id)
        claim = orders.claim(channel, total, ceiling=one.payable.best, query_id=at & 2**64 - 1)
        return await wallet.put(order_id, claim)

    async def _effect(
        self, wallet: Wallet, one: Standing, total: int, order: Order, *, seconds: float
    ) -> Claim:
        sent = await wallet.settle(order.id, seconds=seconds)
        happened = await wallet.effect(sent, seconds=seconds)
        event = event_of(happened)
        before = 0 if one.seen is None else one.seen.claimed
        claimed = before if event is None or event.claimed is None else event.claimed
        return Claim(
            channel=one.payable.channel.account.hex(),
            amount=total,
            paid=claimed - before,
            transaction=happened.transaction.hash.hex(),
            gas_used=0 if event is None else event.gas_used,
            exit_code=-1 if event is None else event.exit_code,
        )


def _just(standings: list[Standing], name: str) -> list[tuple[Standing, int]]:
    meant = [one for one in standings if one.payable.channel.account.hex().startswith(name)]
    if len(meant) != 1:
        found = "several channels begin" if meant else "no channel that pays this wallet begins"
        raise SetupError(f"{found} with {name}: `bombyx owner earnings` lists them")
    if meant[0].trouble:
        raise SetupError(f"the channel {name} cannot be seen: {meant[0].trouble}")
    return [(one, one.payable.best.amount) for one in meant if one.claimable]


def _told(one: Standing) -> SeenPayout:
    channel, seen = one.payable.channel, one.seen
    if seen is None:
        raise ValueError("nothing was seen of this channel")
    return SeenPayout(
        network=network_text(channel.network),
        channel=channel.account.hex(),
        deposited=str(seen.deposited),
        claimed=str(seen.claimed),
        close_at=seen.close_at,
        closed=seen.closed,
    )
