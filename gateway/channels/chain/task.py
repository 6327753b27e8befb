"""The chain's loop: one round after another, in the process with the lowest slot that lives.

Each part of a round fails alone: no provider's trouble keeps the wallet from sending, and no
channel's keeps the others from being claimed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from bombyx.errors import BombyxError, ChannelRolledBack
from gateway.accounts.audit import record
from gateway.channels.chain.claims import Claims
from gateway.channels.chain.deposits import Deposits
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.chain.resuming import Resuming
from gateway.channels.chain.troubles import BROKEN, Troubles
from gateway.channels.chain.watcher import Watched, Watcher
from gateway.channels.chain.withdrawals import PREFIX
from gateway.channels.ledger import writing
from gateway.channels.rows import StoredChannel
from gateway.channels.treasury import Ordered, Trouble
from gateway.metering.port import Processes
from gateway.payouts.keeper import Keeper
from ton.chain.port import Happened
from ton.codec.cells import raw
from ton.wallet.errors import WalletForeign
from ton.wallet.wallet import Wallet

OWN: Final = "wallet"
"""The subject of troubles with the wallet itself."""
OURS: Final = "round"
"""The subject of troubles with what comes before every part."""

_log = structlog.get_logger(__name__)


def refuse_strangers(happened: Happened) -> None:
    """For `Wallet`: a database that is an old copy must not pay a second time."""
    shown = happened.transaction.hash.hex()
    raise WalletForeign(
        f"the wallet sent what these books did not sign ({shown}): are they an old copy?"
    )


@dataclass(slots=True)
class ChainTask:
    """All parts of the chain side, and their rounds."""

    processes: Processes
    slot: int
    watcher: Watcher
    claims: Claims
    deposits: Deposits
    resuming: Resuming
    outbox: SqlOutbox
    wallet: Wallet
    keeper: Keeper
    told: Troubles
    every_s: float = 5.0

    async def run(self) -> None:
        """Rounds for as long as the process lives."""
        while True:
            # Also where nobody could tell whose turn it is: a watcher that died would lose money.
            with self.told.alone("turn", OURS):
                await self.round()
            await asyncio.sleep(self.every_s)

    def troubles(self) -> list[Trouble]:
        """See `Watch.troubles`."""
        return self.told.all()

    async def claim_channel(self, channel: str, *, actor: str) -> Ordered:
        """See `Watch.claim_channel`."""
        return await self.claims.claim_now(channel, actor=actor)

    async def close_channel(self, channel: str, *, actor: str) -> Ordered:
        """See `Watch.close_channel`."""
        # Two steps: what runs still keeps the order back, and nothing new may begin meanwhile. The
        # rounds order it then, without being asked again.
        await self.watcher.channels.end_asked(channel, actor=actor)
        return await self.claims.close(channel)

    async def resume_channel(self, channel: str, *, actor: str) -> StoredChannel:
        """See `Watch.resume_channel`."""
        stored = await self.resuming.resume(channel, actor=actor)
        self.told.over(ChannelRolledBack.code, channel)
        return stored

    async def pay_owner(self, owner: str, *, actor: str) -> None:
        """See `Watch.pay_owner`."""
        await self.keeper.begin_now(owner, actor=actor)

    async def resume(self, *, actor: str) -> None:
        """See `Watch.resume`."""
        async with writing(self.keeper.engine) as connection:
            # Before: a person's word is kept whatever stops the rest, which may be said again.
            await record(connection, actor, "chain.resume", target=raw(self.wallet.address))
        paid = await self.wallet.accept_strangers()
        _log.warning("wallet_resumed", paid_before=[one.id for one in paid])
        self.told.over(WalletForeign.code, OWN)

    async def round(self) -> bool:
        """One round, if it is this process's; whether it was."""
        if not await self._is_ours():
            self.told.forget()
            return False
        await self._part("watch", self._watch_and_claim)
        await self._part("deposits", self.deposits.round)
        await self._part("payouts", self.keeper.round)
        await self._part(OWN, self._send)
        return True

    async def _is_ours(self) -> bool:
        living = [one.slot for one in await self.processes.processes()]
        return bool(living) and min(living) == self.slot

    async def _watch_and_claim(self) -> None:
        watched: list[Watched] = await self.watcher.round()
        ordered = await self.claims.consider(watched)
        if ordered:
            _log.info("claims_ordered", claims=ordered)

    async def _send(self) -> None:
        await self.outbox.again(PREFIX)
        step = await self.wallet.step()
        if step.missing:
            reason = f"the wallet lacks {step.missing} nano for what it should send"
            self.told.tell("wallet_short", OWN, reason)
        else:
            self.told.over("wallet_short", OWN)

    async def _part(self, name: str, part: Callable[[], Awaitable[object]]) -> None:
        try:
            await part()
        except BombyxError as error:
            self.told.tell(error.code, name, error.message)
        except Exception as error:  # noqa: BLE001 - a boundary: the other parts go on
            _log.exception("chain_part_failed", part=name)
            self.told.tell(BROKEN, name, type(error).__name__)
        else:
            for trouble in self.told.all():
                if trouble.subject == name and trouble.word != "wallet_short":
                    self.told.over(trouble.word, name)
