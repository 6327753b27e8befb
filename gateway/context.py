"""What the parts of one gateway process share; put together once, in `gateway.app`."""

import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx.attestation.policy import Policy
from gateway.accounts.key_ring import KeyRing, PayerBook
from gateway.admin.sanctions import Sanctions
from gateway.channels.counter import Counter
from gateway.channels.till import Till
from gateway.channels.treasury import Treasury, Watch
from gateway.collateral.beside import Beside
from gateway.collateral.service import CollateralService
from gateway.identity import GatewayKeys
from gateway.inference.dispatcher import Dispatcher
from gateway.inference.exchange import Budget
from gateway.inference.run import Runs
from gateway.inference.sessions import Sessions
from gateway.inference.silence import Silence
from gateway.metering.meter import Meter
from gateway.metering.port import Store
from gateway.metering.ticket import TicketBox
from gateway.payouts.paymaster import Paymaster
from gateway.processes.hop import HopKey
from gateway.processes.neighbours import Neighbours
from gateway.settings import GatewaySettings
from gateway.workers.archive import Archive
from gateway.workers.desk import Desk
from gateway.workers.registry import Registry


@dataclass(slots=True)
class Context:
    """One process of a gateway."""

    settings: GatewaySettings
    keys: GatewayKeys
    policy: Policy
    engine: AsyncEngine
    store: Store
    meter: Meter
    key_ring: KeyRing
    payers: PayerBook
    tickets: TicketBox
    registry: Registry
    archive: Archive
    sanctions: Sanctions
    desk: Desk
    runs: Runs
    budget: Budget
    sessions: Sessions
    dispatcher: Dispatcher
    silence: Silence
    hop: HopKey
    neighbours: Neighbours
    collateral: CollateralService
    beside: Beside
    till: Till
    counter: Counter | None
    """Where channels are registered and closed; None without a chain."""
    link_url: str
    draining: bool = False
    treasury: Treasury | None = None
    """Deposits and withdrawals by the chain; None without one, as is `watch`."""
    watch: Watch | None = None
    paymaster: Paymaster | None = None
    """Pays owners by channel; None without a chain."""

    @property
    def gateway(self) -> str:
        """The gateway's identity key in hex."""
        return self.keys.gateway


def unix_seconds() -> int:
    """The wall clock; of this shell, never of the pure core."""
    return int(time.time())  # noqa: TID251


def unix_ms() -> int:
    """The wall clock in milliseconds."""
    return int(time.time() * 1000)  # noqa: TID251
