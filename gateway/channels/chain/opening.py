"""From settings to a running chain side. Imported only where a gateway has a chain."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.channels.chain.claims import Claims
from gateway.channels.chain.deposits import Deposits
from gateway.channels.chain.outbox import SqlOutbox
from gateway.channels.chain.resuming import Resuming
from gateway.channels.chain.side import TonSide
from gateway.channels.chain.task import ChainTask, refuse_strangers
from gateway.channels.chain.troubles import Troubles
from gateway.channels.chain.watcher import Watcher
from gateway.channels.chain.withdrawals import Withdrawals
from gateway.channels.repository import Channels
from gateway.metering.port import Processes
from gateway.payouts.keeper import Keeper
from gateway.payouts.repository import Payouts
from ton.chain.opening import open_chain
from ton.chain.port import ChainClient
from ton.settings import TonSettings
from ton.wallet.keys import WalletKey, read_or_create_key
from ton.wallet.w5 import wallet_address
from ton.wallet.wallet import Wallet

KEY_FILE: Final = "wallet.key"
"""In the folder `gateway` of the state: 24 words, made when there are none."""


@dataclass(frozen=True, slots=True)
class Process:
    """Which process of the gateway this is, and what it shares with the others."""

    engine: AsyncEngine
    store: Processes
    slot: int
    channel_key: bytes
    """Our public key in channels, also those by which owners of workers are paid."""
    deadline_s: int
    """From a request's dispatch to its deadline: so long a lost one may come back."""
    max_payout_deposit: int
    """Nano that may lie in payout channels to one owner."""


@dataclass(frozen=True, slots=True)
class ChainParts:
    """A chain side in motion."""

    task: ChainTask
    treasury: Withdrawals


class Connection:
    """A chain and the wallet that is ours there. `side` is what acceptance needs."""

    def __init__(self, chain: ChainClient, key: WalletKey) -> None:
        self._chain = chain
        self._key = key
        self.address = wallet_address(key.public_key, network=chain.network)
        self.side = TonSide(chain, bytes(self.address.hash_part))

    def parts(self, process: Process, *, unix: Callable[[], int], every_s: float) -> ChainParts:
        """Everything that runs, not running yet; `unix` tells this machine's time."""
        chain, engine, address = self._chain, process.engine, self.address
        outbox = SqlOutbox(engine, network=chain.network, source=address)
        troubles = Troubles()
        task = ChainTask(
            processes=process.store,
            slot=process.slot,
            watcher=Watcher(engine, chain, troubles),
            claims=Claims(outbox, troubles, Channels(engine), unix=unix),
            deposits=Deposits(engine, chain, outbox, wallet=address),
            resuming=Resuming(engine, chain, deadline_s=process.deadline_s),
            outbox=outbox,
            wallet=Wallet(chain, self._key, outbox, on_stranger=refuse_strangers),
            keeper=self._keeper(process, outbox, troubles, unix=unix),
            told=troubles,
            every_s=every_s,
        )
        treasury = Withdrawals(engine, outbox, network=chain.network, wallet=address)
        return ChainParts(task, treasury)

    def _keeper(
        self, process: Process, outbox: SqlOutbox, troubles: Troubles, *, unix: Callable[[], int]
    ) -> Keeper:
        return Keeper(
            payouts=Payouts(process.engine, network=self._chain.network),
            chain=self._chain,
            outbox=outbox,
            troubles=troubles,
            engine=process.engine,
            account=self.side.account,
            key=process.channel_key,
            unix=unix,
            salt=lambda: secrets.randbits(64),
            most=process.max_payout_deposit,
        )

    @contextlib.asynccontextmanager
    async def watched(
        self, process: Process, *, unix: Callable[[], int], every_s: float
    ) -> AsyncIterator[ChainParts]:
        """The chain is watched until the block ends."""
        parts = self.parts(process, unix=unix, every_s=every_s)
        running = asyncio.create_task(parts.task.run())
        try:
            yield parts
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def opened(settings: TonSettings, *, state: Path) -> AsyncIterator[Connection]:
    """The chain of `[ton]` and the wallet in the state folder; raises `SetupError`."""
    key = await asyncio.to_thread(read_or_create_key, state / "gateway" / KEY_FILE)
    chain = open_chain(settings)
    try:
        yield Connection(chain, key)
    finally:
        await chain.close()
