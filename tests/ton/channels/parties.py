"""A client and a gateway with a wallet each on a devnet, and one channel from one to the other."""

import hashlib
from dataclasses import dataclass, field

from nacl.signing import SigningKey

from bombyx.money.channel.closing import ChannelSigner, CloseTerms
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.terms import Ceiling
from ton.chain.agreed import AgreedChain
from ton.channels.history import ChannelEvent, history
from ton.channels.orders import open_message
from ton.channels.seen import Seen, look
from ton.devnet.chain import Devnet
from ton.wallet.keys import WalletKey
from ton.wallet.outgoing import Outgoing
from ton.wallet.sqlite_outbox import SqliteOutbox
from ton.wallet.w5 import wallet_address
from ton.wallet.wallet import Wallet

GRAM = 10**9
HOUR = 3600
CLIENT_SEED, GATEWAY_SEED = (hashlib.sha256(one).digest() for one in (b"c key", b"g key"))


def wallet_on(chain: AgreedChain, name: str) -> Wallet:
    key = WalletKey(hashlib.sha256(name.encode()).digest())
    source = wallet_address(key.public_key, network=chain.network)
    return Wallet(chain, key, SqliteOutbox(None, source=source), poll=0.01)


@dataclass
class Parties:
    """Both sides; `signer` is the client's session key, `gateway_signer` the gateway's."""

    chain: AgreedChain
    devnet: Devnet
    salt: int = 1
    period: int = HOUR
    client: Wallet = field(init=False)
    gateway: Wallet = field(init=False)
    channel: Channel = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.client = wallet_on(self.chain, "client")
        self.gateway = wallet_on(self.chain, "gateway")
        for wallet in (self.client, self.gateway):
            self.devnet.give(wallet.address, 100 * GRAM)
        self.signer, self.gateway_signer = ChannelSigner(CLIENT_SEED), ChannelSigner(GATEWAY_SEED)
        config = ChannelConfig(
            client=self.client.account,
            gateway=self.gateway.account,
            client_key=bytes(SigningKey(CLIENT_SEED).verify_key),
            gateway_key=bytes(SigningKey(GATEWAY_SEED).verify_key),
            challenge_period=self.period,
            salt=self.salt,
        )
        self.channel = Channel(self.chain.network, config)

    def ceiling(self, amount: int) -> Ceiling:
        return Ceiling(amount, 0, self.signer.sign(self.channel.template, amount))

    def terms(self, amount: int, *, valid_for: int = 300) -> tuple[CloseTerms, bytes, bytes]:
        terms = CloseTerms(amount, self.devnet.now() + valid_for)
        ours = self.gateway_signer.sign_close(self.channel, terms)
        return terms, self.signer.sign_close(self.channel, terms), ours

    async def send(self, wallet: Wallet, outgoing: Outgoing) -> ChannelEvent:
        """What it did to the channel, whether it worked or not."""
        self.count += 1
        name = f"{wallet.account.hex()[:4]} {self.count}"
        await wallet.put(name, outgoing)
        await wallet.step()
        await wallet.step()
        return (await history(self.chain, self.channel))[-1]

    async def opened(self, deposit: int = 5 * GRAM) -> ChannelEvent:
        return await self.send(self.client, open_message(self.channel, deposit))

    async def look(self) -> Seen:
        seen = await look(self.chain, self.channel)
        assert seen is not None
        return seen

    def supply_is_even(self) -> bool:
        minted, fees, balances = self.devnet.supply()
        return minted == fees + balances
