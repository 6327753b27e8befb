"""The chain as acceptance sees it: `gateway.channels.port.ChainSide` on TON."""

from bombyx.money.channel.identity import Channel
from ton.chain.port import ChainClient
from ton.channels.seen import Seen, look


class TonSide:
    """See `ChainSide`. Every process has one; `account` is the gateway's one wallet."""

    def __init__(self, chain: ChainClient, account: bytes) -> None:
        self._chain = chain
        self.account = account

    @property
    def network(self) -> int:
        """TON's global id."""
        return self._chain.network

    async def look(self, channel: Channel) -> Seen | None:
        """See `ChainSide.look`."""
        return await look(self._chain, channel)
