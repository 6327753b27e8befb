"""A chain that says what a test wants, and a client that pays by channel, by hand."""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from bombyx import canonical
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.documents import encode_registration, registration_of
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.terms import Ceiling, network_text, voucher_of
from gateway.channels.port import ChainSide
from gateway.channels.repository import Channels
from tests.network.harness import Network
from tests.network.requests import CHAT, SEALED, bearer, body, directory, http, seal
from ton.chain.errors import ChainUnreachable

CHAIN_ID = -3
PERIOD_S = 7_200
DEPOSIT = 10**12


@dataclass
class SeenChannel:
    """A contract as a look finds it."""

    deposited: int = DEPOSIT
    claimed: int = 0
    close_at: int = 0
    closed: bool = False


@dataclass
class FakeChain:
    """Contracts by account; `looks` counts."""

    network: int = CHAIN_ID
    account: bytes = hashlib.sha256(b"the gateway's wallet").digest()
    contracts: dict[bytes, SeenChannel] = field(default_factory=dict)
    looks: int = 0
    is_silent: bool = False

    async def look(self, channel: Channel) -> SeenChannel | None:
        self.looks += 1
        if self.is_silent:
            raise ChainUnreachable("no provider answers")
        return self.contracts.get(channel.account)


def _is_a_chain_side(chain: FakeChain) -> ChainSide:
    return chain


class Client:
    """A channel and its session key; it signs whatever it is told to."""

    def __init__(self, net: Network, chain: FakeChain, salt: int = 1, **changes: Any) -> None:
        self.net = net
        self.chain = chain
        self.signer = ChannelSigner(hashlib.sha256(b"session %d" % salt).digest())
        fields: dict[str, Any] = {
            "client": hashlib.sha256(b"the client's wallet").digest(),
            "gateway": chain.account,
            "client_key": self.signer.public_key,
            "gateway_key": net.context.keys.channel.public_key,
            "challenge_period": PERIOD_S,
            "salt": salt,
        }
        self.channel = Channel(chain.network, ChannelConfig(**fields | changes))
        self.id = self.channel.account.hex()
        self.name = f"{network_text(chain.network)}:{self.id}"

    @property
    def contract(self) -> SeenChannel:
        return self.chain.contracts[self.channel.account]

    def deploy(self, deposited: int = DEPOSIT) -> "Client":
        self.chain.contracts[self.channel.account] = SeenChannel(deposited)
        return self

    async def get(self, path: str = "", *, key: str | None = None) -> httpx2.Response:
        async with http() as client:
            url = f"{self.net.url}/v1/channels{path}"
            return await client.get(url, headers=bearer(key or self.net.api_key))

    async def register(self, *, key: str | None = None, **changes: Any) -> httpx2.Response:
        document = msgspec.structs.replace(registration_of(self.channel, self.signer), **changes)
        return await self.post("", encode_registration(document), key=key)

    async def post(
        self, path: str, content: bytes = b"{}", *, key: str | None = None
    ) -> httpx2.Response:
        async with http() as client:
            url = f"{self.net.url}/v1/channels{path}"
            return await client.post(url, content=content, headers=bearer(key or self.net.api_key))

    async def close(self) -> httpx2.Response:
        return await self.post(f"/{self.id}/close")

    def voucher(self, ceiling: int, signer: ChannelSigner | None = None, **changes: Any) -> str:
        signature = (signer or self.signer).sign(self.channel.template, ceiling)
        document = voucher_of(self.channel, Ceiling(ceiling, 0, signature))
        return canonical.encode(msgspec.structs.replace(document, **changes)).decode()

    async def ask(
        self,
        voucher: int | str | None = None,
        text: str = "say: paid",
        *,
        url: str = "",
        **changes: Any,
    ) -> httpx2.Response:
        """A sealed request that this channel pays, with a voucher over so much or as it is."""
        listed = await directory(self.net)
        given = {"channel": self.name, **changes}
        sealed = seal(self.net, listed.workers, body(text), **given)
        headers = {"content-type": SEALED, **bearer(self.net.api_key)}
        if voucher is not None:
            headers["x-bombyx-voucher"] = (
                voucher if isinstance(voucher, str) else self.voucher(voucher)
            )
        async with http() as client:
            where = (url or self.net.url) + CHAT
            return await client.post(where, content=sealed.encode(), headers=headers)

    async def row(self) -> ChannelRow:
        return (await Channels(self.net.context.engine).row(self.id)).row


async def cost_of(net: Network) -> int:
    """What each request of these tests may cost."""
    listed = await directory(net)
    sealed = seal(net, listed.workers, body("x"))
    return int(sealed.header.header.max_cost_nano)


def fresh_salt() -> int:
    return int.from_bytes(os.urandom(7))
