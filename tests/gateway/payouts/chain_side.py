"""A gateway that pays an owner on a devnet in this process, turned round by round."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout_documents import nobodys_key
from bombyx.money.channel.terms import Ceiling
from gateway.channels.chain.opening import ChainParts, Connection, Process
from gateway.database import create_engine
from gateway.metering.port import Store
from gateway.payouts.repository import Payouts, uneven_payouts
from gateway.payouts.rows import StoredPayout
from tests.gateway.metering import samples
from tests.gateway.payouts.samples import PAYS, earn, live
from tests.ton.channels.parties import GRAM, wallet_on
from ton.chain.agreed import AgreedChain
from ton.channels.seen import Seen, look
from ton.codec.cells import raw
from ton.devnet.chain import Devnet
from ton.wallet.keys import WalletKey
from ton.wallet.outgoing import Outgoing
from ton.wallet.wallet import Wallet

LOST_S, MOST = 1_500, 20 * GRAM
"""As by default."""
KEY = WalletKey(hashlib.sha256(b"gateway").digest())


@dataclass
class Side:
    """The gateway's books and wallet, and the owner's wallet."""

    devnet: Devnet
    chain: AgreedChain
    connection: Connection
    parts: ChainParts
    payouts: Payouts
    store: Store
    url: str
    epoch: int
    owner_wallet: Wallet
    count: int = 0

    @property
    def owner(self) -> str:
        return raw(self.owner_wallet.address)

    @property
    def key(self) -> bytes:
        return nobodys_key(self.owner_wallet.account)

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            assert await self.parts.task.round()

    async def earn(self, amount: int) -> None:
        self.count += 1
        await earn(self.store, self.epoch, self.count, amount, owner=self.owner)

    async def live(self) -> StoredPayout:
        found = await live(self.url, self.owner)
        assert found is not None
        return found

    async def begin(self, earned: int = GRAM) -> StoredPayout:
        """An owner with a funded channel."""
        await self.payouts.meet("w1", self.owner, self.key)
        await self.earn(earned)
        await self.rounds(4)
        stored = await self.live()
        assert stored.deposited > 0
        return stored

    async def vouch(self) -> tuple[StoredPayout, Ceiling]:
        stored = await self.payouts.vouch(self.owner)
        assert stored is not None
        return stored, self.ceiling(stored.channel, stored.vouched)

    def ceiling(self, channel: Channel, amount: int) -> Ceiling:
        return Ceiling(amount, 0, PAYS.sign(channel.template, amount))

    async def send(self, wallet: Wallet, outgoing: Outgoing) -> None:
        self.count += 1
        await wallet.put(f"{self.count}", outgoing)
        await wallet.step()
        await wallet.step()

    async def look(self, channel: Channel) -> Seen:
        seen = await look(self.chain, channel)
        assert seen is not None
        return seen

    @contextlib.asynccontextmanager
    async def another(self) -> AsyncIterator[ChainParts]:
        """The chain side once more, as another process has it."""
        engine = create_engine(self.url)
        process = Process(engine, self.store, 1, PAYS.public_key, LOST_S, MOST)
        yield self.connection.parts(process, unix=self.devnet.now, every_s=1)
        await engine.dispose()

    def troubles(self) -> set[str]:
        return {one.word for one in self.parts.task.troubles()}


@pytest.fixture
async def side(
    chain: AgreedChain,
    devnet: Devnet,
    payouts: Payouts,
    store: Store,
    epoch: int,
    database_url: str,
) -> AsyncIterator[Side]:
    assert payouts is not None
    await samples.fund(database_url, "carol", 1)  # the issuance account
    engine = create_engine(database_url)
    connection = Connection(chain, KEY)
    owner = wallet_on(chain, "the owner")
    for address in (connection.address, owner.address):
        devnet.give(address, 100 * GRAM)
    process = Process(engine, store, 1, PAYS.public_key, LOST_S, MOST)
    parts = connection.parts(process, unix=devnet.now, every_s=0.01)
    await parts.task.round()
    ours = Payouts(engine, network=chain.network)
    yield Side(devnet, chain, connection, parts, ours, store, database_url, epoch, owner)
    assert await uneven_payouts(engine) == []
    await engine.dispose()
