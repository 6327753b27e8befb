"""The chain side put together as the gateway does it, turned round by round."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pytoniq_core import Cell

from bombyx.money.channel.identity import Channel
from gateway.channels.chain.opening import ChainParts, Connection, Process
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel
from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.metering.rows import ChannelClaim, Claimed
from tests.gateway.metering.samples import execute, new_claim, nothing, settlement
from tests.gateway.payouts.samples import PAYS
from tests.ton.channels.parties import GRAM, Parties
from tests.ton.comments import comment
from ton.chain.agreed import AgreedChain
from ton.chain.port import ChainClient
from ton.devnet.chain import Devnet
from ton.wallet.keys import WalletKey
from ton.wallet.outgoing import Outgoing

SLOT = 1
LOST_S = 1_500
"""How long a lost request may come back, as by default."""
OWNER = "alice"
GATEWAY = WalletKey(hashlib.sha256(b"gateway").digest())
"""The key of `parties.gateway`."""


@dataclass
class Gate:
    """A gateway on one database; `parties.gateway` is never stepped, `parts.task.wallet` is."""

    parties: Parties
    connection: Connection
    parts: ChainParts
    channels: Channels
    store: Store
    url: str
    epoch: int
    count: int = 0
    claims: dict[int, int] = field(default_factory=dict)

    @property
    def channel(self) -> Channel:
        return self.parties.channel

    @property
    def id(self) -> str:
        return self.channel.account.hex()

    async def row(self) -> StoredChannel:
        return await self.channels.row(self.id)

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            assert await self.parts.task.round()

    async def begin(self, deposit: int = 5 * GRAM) -> None:
        """A channel that is open, registered and funded."""
        await self.parties.opened(deposit)
        await self.channels.register(self.channel, OWNER)
        await self.rounds()
        assert (await self.row()).row.deposited == deposit

    async def reserve(self, amount: int) -> int:
        """A request that runs; its number."""
        self.count += 1
        stored = await self.row()
        total = stored.row.charged + stored.row.reserved + amount
        claim = new_claim(self.count, reserve=amount, channel=self.id)
        offered = self.parties.ceiling(total)
        (done,) = await self.store.claim_by_channel(
            SLOT, self.epoch, [ChannelClaim(claim, offered)]
        )
        assert isinstance(done, Claimed), done
        return self.count

    async def charge(self, amount: int) -> None:
        """A request that ran and cost so much."""
        number = await self.reserve(amount)
        await self.store.settle([settlement(number, amount=amount, fee=0)])

    async def give_up(self, number: int) -> None:
        await self.store.settle([nothing(number)])

    async def pay(self, amount: int, memo: str | None = None, *, body: Cell | None = None) -> None:
        """The client's wallet sends the gateway's so much."""
        carried = body if memo is None else comment(memo)
        self.parties.count += 1
        name = f"pay {self.parties.count}"
        sent = Outgoing(self.connection.address, amount, carried, bounce=False)
        await self.parties.client.put(name, sent)
        await self.parties.client.settle(name, seconds=20)

    async def audited(self, action: str) -> list[Any]:
        """Details of what the audit log says of an action, oldest first."""
        rows = await execute(
            self.url, "SELECT detail FROM audit_log WHERE action = :one ORDER BY id", one=action
        )
        return [json.loads(row[0]) for row in rows]

    async def orders(self) -> list[tuple[str, str]]:
        """What the wallet was told, in order: kind and number of the try, and the state."""
        rows = await execute(self.url, "SELECT id, state FROM chain_order ORDER BY at")
        return [(":".join(name.split(":")[::3]), state) for name, state in rows]

    @contextlib.asynccontextmanager
    async def another(
        self, chain: ChainClient | None = None, key: WalletKey = GATEWAY
    ) -> AsyncIterator[ChainParts]:
        """The chain side once more, as another process or after a restart has it."""
        engine = create_engine(self.url)
        connection = Connection(chain or self.parties.chain, key)
        process = Process(engine, self.store, SLOT, PAYS.public_key, LOST_S, 20 * GRAM)
        yield connection.parts(process, unix=self.parties.devnet.now, every_s=1)
        await engine.dispose()

    def troubles(self) -> set[str]:
        return {one.word for one in self.parts.task.troubles()}


@pytest.fixture
async def gate(
    chain: AgreedChain, devnet: Devnet, channels: Channels, store: Store, database_url: str
) -> AsyncIterator[Gate]:
    parties = Parties(chain, devnet)
    engine = create_engine(database_url)
    epoch = await store.open_process(SLOT, "wss://gw")
    connection = Connection(chain, GATEWAY)
    parts = connection.parts(
        Process(engine, store, SLOT, PAYS.public_key, LOST_S, 20 * GRAM),
        unix=devnet.now,
        every_s=0.01,
    )
    await parts.task.round()
    yield Gate(parties, connection, parts, channels, store, database_url, epoch)
    await engine.dispose()
