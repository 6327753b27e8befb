"""What gateways pay: vouchers are checked, kept for the owner, and counted (SPEC 8).

A voucher is in `payouts.json` before it counts. It counts a moment later: acknowledgements of the
same bills may come on another link. The chain is the owner's to see; what the owner saw comes back
in a file.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from bombyx.errors import (
    BombyxError,
    ChannelNotOurs,
    JournalFailed,
    SetupError,
    VoucherForeign,
)
from bombyx.link.documents import Ack
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout import UNSECURED_CREDIT, credit_limit
from bombyx.money.channel.payout_documents import (
    HeldPayout,
    PayoutChannel,
    PayoutFile,
    SeenPayout,
    admit_payout,
    payout_channel_of,
)
from bombyx.money.channel.terms import Ceiling, Voucher, check_offered, voucher_of
from worker.ledger.journal import Journal
from worker.ledger.payout_books import Payee, PayoutBooks
from worker.ledger.payout_file import read_payouts, read_seen, seen_changed, write_payouts

COUNTED_AFTER_S: Final = 2.0
"""From a voucher to its counting; links of one gateway differ by much less."""
LOOK_AGAIN_S: Final = 5.0
"""From a look at the owner's word that failed to the next one."""
MAX_REPLACED: Final = 16
"""Channels of one gateway that another took the place of and that may still be claimed."""
PAYOUTS: Final = "payouts"
"""Name of the notice about the owner's word."""

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a gateway is shown of itself in the hello; absent members are not told."""

    payout_key: str | UnsetType = UNSET
    voucher: Voucher | UnsetType = UNSET
    payout_channel: PayoutChannel | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Rules:
    """The owner's: `most` bounds what one gateway may owe, `unsecured` that without a deposit."""

    payout: str
    payee: Payee | None
    most: int | None = None
    unsecured: int | None = None


class Till:
    """All gateways of one worker.

    `tell` takes a name and a sentence for the owner, `clear` the name of what is well again.
    """

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        *,
        folder: Path | None,
        tell: Callable[[str, str], None],
        clear: Callable[[str], None],
        counted_after_s: float = COUNTED_AFTER_S,
    ) -> None:
        """Without a folder nobody can claim what is kept: of tests and of nothing else."""
        self._journal = journal
        self._rules = rules
        self._folder = folder
        self._tell = tell
        self._clear = clear
        self._counted_after_s = counted_after_s
        self._books: dict[str, PayoutBooks] = {}
        self._best: dict[str, Ceiling] = {}
        self._replaced: list[HeldPayout] = []
        self._seen: dict[tuple[str, str], SeenPayout] = {}
        self._seen_at = 0
        self._look_after = float("-inf")
        self._is_watched = False
        self._lock = asyncio.Lock()
        self._counting: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Go on where the process before ended; raises `SetupError`."""
        self._books = await self._journal.all_books(self._rules.payee)
        self._best = {gateway: one.earnings.best for gateway, one in self._books.items()}
        folder = self._folder
        if folder is not None and (kept := await asyncio.to_thread(read_payouts, folder)):
            for held in kept.held:
                await self._take_kept(held)
        await self.look()

    async def _take_kept(self, held: HeldPayout) -> None:
        """The file is in the clear: signatures count, and nothing else that it says."""
        books = self._books.get(held.gateway, PayoutBooks())
        channel, told = books.channel, held.payout_channel
        if channel is None or channel.account.hex() != told.channel:
            self._replaced.append(_replaced(held))
            return
        if not isinstance(held.voucher, Voucher):
            return
        try:
            best = check_offered(held.voucher, channel)
        except BombyxError as error:
            _log.warning("payouts_file", gateway=held.gateway, code=error.code)
            return
        if best.amount > self._best[held.gateway].amount:
            # Kept and not counted when the process ended.
            self._best[held.gateway] = best
            await self._count(held.gateway)

    # --- What admission and links ask ---

    def limit(self, gateway: str) -> int | None:
        """How much may be unpaid or in flight (SPEC 8.3); None: no limit."""
        rules = self._rules
        if not self._is_watched:
            told = [one for one in (rules.most, rules.unsecured) if one is not None]
            return min(told, default=None)
        unsecured = UNSECURED_CREDIT if rules.unsecured is None else rules.unsecured
        earnings = self._books.get(gateway, PayoutBooks()).earnings
        return credit_limit(earnings, owner_limit=rules.most, unsecured=unsecured)

    def shown(self, gateway: str) -> Shown:
        """For the hello with this gateway."""
        payee = self._rules.payee
        if payee is None:
            return Shown()
        key, books = payee.key.hex(), self._books.get(gateway, PayoutBooks())
        best = self._best.get(gateway, Ceiling())
        if books.channel is None or not best.amount:
            return Shown(key)
        return Shown(key, voucher_of(books.channel, best), payout_channel_of(books.channel))

    # --- What gateways say ---

    async def take(self, gateway: str, ack: Ack) -> None:
        """Keep what an acknowledgement pays; what it only pretends to pay the owner is told."""
        if not (isinstance(ack.voucher, Voucher) or isinstance(ack.payout_channel, PayoutChannel)):
            return
        async with self._lock:
            try:
                if isinstance(ack.payout_channel, PayoutChannel):
                    await self._take_channel(gateway, ack.payout_channel)
                if isinstance(ack.voucher, Voucher):
                    await self._take_voucher(gateway, ack.voucher)
                    self._clear(_notice(gateway))
            except (BombyxError, OSError) as error:
                self._refuse(gateway, error)

    def _refuse(self, gateway: str, error: Exception) -> None:
        code = error.code if isinstance(error, BombyxError) else type(error).__name__
        _log.error("payment_refused", gateway=gateway, code=code)
        sentence = f"gateway {gateway[:16]} pays in a way that does not count: {error}"
        self._tell(_notice(gateway), sentence)

    async def _take_channel(self, gateway: str, told: PayoutChannel) -> None:
        payee, books = self._rules.payee, self._books.get(gateway, PayoutBooks())
        if payee is None:
            raise ChannelNotOurs("this worker has no payout address: set [worker] wallet")
        channel = admit_payout(told, payee=payee.account, payee_key=payee.key)
        if books.channel is not None and books.channel.account == channel.account:
            return
        seen = self._seen.get((told.network, told.channel))
        if seen is not None and (seen.closed or seen.close_at):
            raise ChannelNotOurs("it pays by a channel that its owner saw closing")
        known, replaced = self._put_away(gateway, books, channel)
        await self._change(gateway, partial(PayoutBooks.with_channel, channel=channel, known=known))
        self._best[gateway], self._replaced = known, replaced
        await self._write(replaced)
        await self._count_seen(gateway)

    def _put_away(
        self, gateway: str, books: PayoutBooks, channel: Channel
    ) -> tuple[Ceiling, list[HeldPayout]]:
        """Another channel takes its place: what we hold of that one, and what is replaced then."""
        mine = [one for one in self._replaced if one.gateway == gateway]
        before = next(
            (one for one in mine if one.payout_channel.channel == channel.account.hex()), None
        )
        if before is None and len(mine) >= MAX_REPLACED:
            raise ChannelNotOurs("it began too many channels: claim and close the old ones")
        replaced = [one for one in self._replaced if one is not before]
        held = books.held(gateway, self._best.get(gateway, Ceiling()))
        if held is not None and isinstance(held.voucher, Voucher):
            replaced.append(_replaced(held))
        if before is None or not isinstance(before.voucher, Voucher):
            return Ceiling(), replaced
        return check_offered(before.voucher, channel), replaced

    async def _take_voucher(self, gateway: str, voucher: Voucher) -> None:
        channel = self._books.get(gateway, PayoutBooks()).channel
        if channel is None:
            raise VoucherForeign("it never said which channel its vouchers are of")
        offered = check_offered(voucher, channel)
        if offered.amount <= self._best[gateway].amount:
            return
        before, self._best[gateway] = self._best[gateway], offered
        try:
            await self._write(self._replaced)
        except (JournalFailed, OSError):
            self._best[gateway] = before
            raise
        if gateway not in self._counting:
            self._counting[gateway] = asyncio.create_task(self._count_later(gateway))

    async def _count_later(self, gateway: str) -> None:
        try:
            await asyncio.sleep(self._counted_after_s)
        finally:
            del self._counting[gateway]
        async with self._lock:
            await self._count(gateway)

    async def _count(self, gateway: str) -> None:
        await self._change_if_possible(
            gateway, partial(PayoutBooks.paid, offered=self._best[gateway])
        )

    # --- What the owner saw ---

    async def look(self) -> None:
        """Read the owner's word, if it is new; what fails is told, and tried at the next look."""
        folder, now = self._folder, asyncio.get_running_loop().time()
        if folder is None or now < self._look_after:
            return
        if self._journal.trouble is not None:
            return  # nothing counts while it cannot be written, and a try takes long
        at = seen_changed(folder)
        try:
            if at != self._seen_at:
                await self._take_seen(folder)
        except (BombyxError, OSError) as error:
            code = error.code if isinstance(error, BombyxError) else type(error).__name__
            _log.error("payouts_failed", code=code)
            self._tell(PAYOUTS, f"what the owner saw on chain does not count yet: {error}")
            self._look_after = now + LOOK_AGAIN_S
            return
        self._seen_at = at
        self._clear(PAYOUTS)

    async def _take_seen(self, folder: Path) -> None:
        told = await asyncio.to_thread(read_seen, folder)
        if told is None:
            raise SetupError("payouts-seen.json cannot be read: run `bombyx owner watch`")
        async with self._lock:
            self._is_watched = True
            self._seen = {(one.network, one.channel): one for one in told.seen}
            for gateway in list(self._books):
                await self._count_seen(gateway)
            await self._forget_closed()

    async def _count_seen(self, gateway: str) -> None:
        books = self._books[gateway]
        for one in self._seen.values():
            if books.is_of(one):
                await self._change(gateway, partial(PayoutBooks.seen, told=one))

    async def _forget_closed(self) -> None:
        """A tombstone pays nobody: its voucher is worth nothing."""
        closed = {channel for (_, channel), one in self._seen.items() if one.closed}
        left = [one for one in self._replaced if one.payout_channel.channel not in closed]
        if len(left) < len(self._replaced):
            await self._write(left)
            self._replaced = left

    # --- Keeping ---

    async def _change(self, gateway: str, step: Callable[[PayoutBooks], PayoutBooks]) -> None:
        """Change the journal's books; raises `JournalFailed`, and then they are as they were."""
        self._books[gateway] = await self._journal.pay(gateway, step, self._rules.payee)

    async def _change_if_possible(
        self, gateway: str, step: Callable[[PayoutBooks], PayoutBooks]
    ) -> None:
        """The same; what does not count now does so at the next voucher or start."""
        try:
            await self._change(gateway, step)
        except JournalFailed as error:
            _log.error("journal_failed", reason=error.message)

    async def _write(self, replaced: list[HeldPayout]) -> None:
        """What the owner claims by; raises `OSError` or `JournalFailed`."""
        if self._folder is None:
            return
        current = [
            books.billed(await self._journal.billed(gateway)).held(gateway, self._best[gateway])
            for gateway, books in self._books.items()
        ]
        held = [one for one in current if one is not None] + replaced
        document = PayoutFile(v="bombyx-payouts/1", payout=self._rules.payout, held=held)
        await asyncio.to_thread(write_payouts, self._folder, document)

    async def close(self) -> None:
        """Count what is kept."""
        for task in list(self._counting.values()):
            task.cancel()
        waiting = list(self._counting)
        await asyncio.gather(*self._counting.values(), return_exceptions=True)
        for gateway in waiting:
            await self._count(gateway)


def _notice(gateway: str) -> str:
    return f"payment of {gateway[:16]}"


def _replaced(held: HeldPayout) -> HeldPayout:
    """The same channel, no longer the one that the gateway pays by."""
    return msgspec.structs.replace(held, is_current=False)
