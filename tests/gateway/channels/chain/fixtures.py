"""The chain side put together as the gateway does it, turned round by round."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from bombyx.money.channel.identity import Channel
from gateway.channels.chain.opening import ChainParts, Connection, Process
from gateway.channels.repository import Channels
from gateway.channels.rows import StoredChannel
from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.metering.rows import ChannelClaim, Claimed
from tests.gateway.metering.samples import new_claim, nothing, settlement
from tests.gateway.payouts.samples import PAYS
from tests.ton.channels.parties import GRAM, Parties
from ton.chain.agreed import AgreedChain
from ton.chain.port import ChainClient
from ton.devnet.chain import Devnet
from ton.wallet.keys import WalletKey

SLOT = 1
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

    @contextlib.asynccontextmanager
    async def another(
        self, chain: ChainClient | None = None, key: WalletKey = GATEWAY
    ) -> AsyncIterator[ChainParts]:
        """The chain side once more, as another process or after a restart has it."""
        engine = create_engine(self.url)
        connection = Connection(chain or self.parties.chain, key)
        process = Process(engine, self.store, SLOT, PAYS.public_key)
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
        Process(engine, store, SLOT, PAYS.public_key), unix=devnet.now, every_s=0.01
    )
    await parts.task.round()
    yield Gate(parties, connection, parts, channels, store, database_url, epoch)
    await engine.dispose()
