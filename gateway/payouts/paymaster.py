"""Vouchers on their way: one per owner and batch of bills, to each of the owner's links (SPEC 8.2).

Knows the links of this process; another process vouches for what was billed there. A voucher is
saved before it is signed, so that a crash in between costs a message and never the books.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from bombyx.errors import BombyxError, ChannelNotOurs
from bombyx.link.hello import Identify
from bombyx.money.channel.addresses import account_of
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout import VOUCHER_EVERY_MS
from bombyx.money.channel.payout_documents import PayoutChannel, admit_payout, payout_channel_of
from bombyx.money.channel.terms import Ceiling, Voucher, check_offered, network_text, voucher_of
from bombyx.money.voucher import VoucherSigner
from gateway.payouts.repository import Payouts
from gateway.payouts.rows import StoredPayout
from gateway.workers.registry import Listed

SWEEP_SECONDS: Final = 5.0
"""How soon a deposit, or a bill of a process that died, shows in a voucher."""

_log = structlog.get_logger(__name__)


class Paymaster:
    """Pays the owners of the workers that are linked to this process."""

    def __init__(self, payouts: Payouts, signer: VoucherSigner, *, account: bytes) -> None:
        """`account` is our wallet's: the client of every payout channel."""
        self._payouts = payouts
        self._signer = signer
        self._account = account
        self._keys: dict[Listed, bytes] = {}
        self._told: dict[Listed, tuple[str, int]] = {}
        self._due: dict[str, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- Workers ---

    async def meet(self, listed: Listed, identify: Identify) -> None:
        """What a worker says of its owner in its hello, and the voucher that it holds (SPEC 8.1).

        One that names no key, or no address that a channel can pay, is paid by the ledger alone.
        """
        payee = account_of(listed.payout)
        if payee is None or not isinstance(identify.payout_key, str):
            return
        key = bytes.fromhex(identify.payout_key)
        await self._payouts.meet(listed.worker, listed.payout, key)
        told, shown = identify.payout_channel, identify.voucher
        if isinstance(told, PayoutChannel) and isinstance(shown, Voucher):
            try:
                channel = self._ours(told, payee=payee, payee_key=key)
                held = check_offered(shown, channel)
                await self._payouts.adopt(listed.payout, channel, held)
            except BombyxError as error:
                # Of an earlier wallet or network of ours, perhaps: its work is as good as before.
                _log.warning("voucher_not_ours", worker=listed.worker, code=error.code)
        self._keys[listed] = key

    def _ours(self, told: PayoutChannel, *, payee: bytes, payee_key: bytes) -> Channel:
        if told.network != network_text(self._payouts.network):
            raise ChannelNotOurs("the channel is on another network")
        channel = admit_payout(told, payee=payee, payee_key=payee_key)
        config = channel.config
        if (config.client, config.client_key) != (self._account, self._signer.public_key):
            raise ChannelNotOurs("another wallet or key pays by this channel")
        return channel

    def linked(self, listed: Listed) -> None:
        """A worker takes requests now, and hears of what its owner is paid by."""
        if listed in self._keys:
            self._pay_soon(listed.payout)

    def unlinked(self, listed: Listed) -> None:
        """It is gone."""
        self._keys.pop(listed, None)
        self._told.pop(listed, None)

    # --- Vouchers ---

    def on_billed(self, listed: Listed) -> None:
        """A statement was billed, and its disposition is on the way to the worker."""
        if listed in self._keys:
            self._pay_soon(listed.payout)

    def _pay_soon(self, owner: str) -> None:
        """One voucher for all bills of the next quarter of a second."""
        if owner in self._due:
            self._due[owner] = True
            return
        self._due[owner] = False
        self._spawn(self._pay_in_a_while(owner))

    async def _pay_in_a_while(self, owner: str) -> None:
        again = True
        try:
            while again:
                await asyncio.sleep(VOUCHER_EVERY_MS / 1000)
                self._due[owner] = False
                await self._pay(owner)
                again = self._due[owner]
        except (BombyxError, SQLAlchemyError) as error:
            _log.error("not_paid", owner=owner, reason=type(error).__name__)  # swept up later
        finally:
            del self._due[owner]

    async def _pay(self, owner: str) -> None:
        stored = await self._payouts.vouch(owner)
        if stored is not None and stored.vouched:
            self._send(stored)

    def _send(self, stored: StoredPayout) -> None:
        channel, total = stored.channel, stored.vouched
        news = [one for one in self._links(stored) if self._told.get(one) != (stored.id, total)]
        if not news:
            return
        signature = self._signer.sign(channel.template, total)
        voucher = voucher_of(channel, Ceiling(total, 0, signature))
        for listed in news:
            known = self._told.get(listed, ("", 0))[0] == stored.id
            listed.link.pay(voucher, None if known else payout_channel_of(channel))
            self._told[listed] = stored.id, total

    def _links(self, stored: StoredPayout) -> list[Listed]:
        """The owner's; one that named another key than the channel's would refuse it."""
        key = stored.channel.config.gateway_key
        return [one for one, named in self._keys.items() if one.payout == stored.owner
                and named == key]  # fmt: skip

    # --- What nobody told ---

    async def run(self) -> None:
        """Vouch for what was billed elsewhere or could not be covered, for as long as we live."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 - a boundary: a sweeper that died would never be missed
                _log.exception("sweep_failed")

    async def sweep(self) -> None:
        """One look at what is owed to the owners that are linked here."""
        owners = {listed.payout for listed in self._keys}
        if owners:
            for owner in await self._payouts.payable(owners):
                self._pay_soon(owner)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop; what is due is paid by the next process."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
