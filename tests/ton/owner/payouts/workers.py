"""Workers' state folders as workers write them, and gateways that pay into them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bombyx import canonical
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel, ChannelConfig
from bombyx.money.channel.payout_documents import (
    PAYOUTS_FILE,
    SEEN_FILE,
    HeldPayout,
    PayoutFile,
    SeenFile,
    nobodys_key,
    payout_channel_of,
)
from bombyx.money.channel.terms import Ceiling, voucher_of
from tests.ton.channels.parties import GRAM, wallet_on
from ton.chain.agreed import AgreedChain
from ton.channels.orders import open_message
from ton.devnet.chain import Devnet
from ton.wallet.outgoing import Outgoing
from ton.wallet.wallet import Wallet

PAYS = ChannelSigner(hashlib.sha256(b"the gateway's channel key").digest())
GATEWAY = "ab" * 32


@dataclass
class Scene:
    """A gateway with money, an owner, and a folder for each of the owner's workers."""

    chain: AgreedChain
    devnet: Devnet
    root: Path
    rich: bool = True
    gateway: Wallet = field(init=False)
    owner: Wallet = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.gateway = wallet_on(self.chain, "gateway")
        self.owner = wallet_on(self.chain, "owner")
        for wallet in (self.gateway, self.owner) if self.rich else (self.gateway,):
            self.devnet.give(wallet.address, 100 * GRAM)

    def channel(self, salt: int = 1) -> Channel:
        config = ChannelConfig(
            client=self.gateway.account,
            gateway=self.owner.account,
            client_key=PAYS.public_key,
            gateway_key=nobodys_key(self.owner.account),
            challenge_period=PAYOUT_CHALLENGE_S,
            salt=salt,
        )
        return Channel(self.chain.network, config)

    async def send(self, wallet: Wallet, outgoing: Outgoing) -> None:
        self.count += 1
        await wallet.put(f"{self.count}", outgoing)
        await wallet.step()
        await wallet.step()

    async def deposit(self, amount: int = 5 * GRAM, salt: int = 1) -> Channel:
        channel = self.channel(salt)
        await self.send(self.gateway, open_message(channel, amount))
        return channel

    def held(self, amount: int, billed: int | None = None, salt: int = 1) -> HeldPayout:
        channel = self.channel(salt)
        ceiling = Ceiling(amount, 0, PAYS.sign(channel.template, amount))
        return HeldPayout(
            gateway=GATEWAY,
            payout_channel=payout_channel_of(channel),
            billed_nano=str(amount if billed is None else billed),
            is_current=True,
            voucher=voucher_of(channel, ceiling),
        )

    def worker(self, name: str, held: Sequence[HeldPayout] = ()) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        if held:
            payout = self.owner.address.to_str(is_user_friendly=False)
            document = PayoutFile(v="bombyx-payouts/1", payout=payout, held=list(held))
            (folder / PAYOUTS_FILE).write_bytes(canonical.encode(document))
        return folder

    def told(self, name: str) -> SeenFile:
        return canonical.decode((self.root / name / SEEN_FILE).read_bytes(), SeenFile)
