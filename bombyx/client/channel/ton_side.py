"""Channels on TON: who looks and who sends. The one module of a wallet that needs bombyx-ton.

Import it where it is used, with `open_ton_side`. A `WalletSide` signs with a key on this machine; a
`LinkSide` shows a link that a wallet on a phone opens, and waits until the chain shows the effect.
"""

import asyncio
import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pytoniq_core import Address, Cell
from pytoniq_core.boc.address import AddressError

from bombyx.client.channel.chain_port import ChainSide, Looked
from bombyx.errors import SetupError
from bombyx.money.channel.closing import CloseTerms
from bombyx.money.channel.identity import Channel
from bombyx.money.voucher import ACCOUNT_BYTES
from ton.chain.errors import NotSeen
from ton.chain.opening import open_chain
from ton.chain.port import ChainClient
from ton.channels.history import ChannelEvent, history
from ton.channels.orders import coop_close, finish_close, open_message, start_close, top_up
from ton.channels.seen import Seen, look
from ton.settings import DEVNET, TonSettings
from ton.wallet.errors import OrderFailed
from ton.wallet.outgoing import Outgoing
from ton.wallet.wallet import Wallet, open_wallet

SECONDS = 180.0
"""How long an order may take: a wallet's message is good for so long, then another is signed."""
LINK_SECONDS = 900.0
"""How long a person may take with his phone."""
POLL, DEVNET_POLL = 1.0, 0.05
"""Seconds between two looks; a devnet makes a block before it answers."""
Arrived = Callable[[Seen | None], bool]


class _Orders(ABC):
    """The messages of each operation; those who send them differ."""

    def __init__(self, chain: ChainClient, account: bytes) -> None:
        self.chain = chain
        self.account = account

    @property
    def network(self) -> int:
        """TON's global id."""
        return self.chain.network

    async def look(self, channel: Channel) -> Looked | None:
        """The contract, or None."""
        seen = await look(self.chain, channel)
        if seen is None:
            return None
        return Looked(seen.deposited, seen.claimed, seen.close_at, seen.closed, seen.at)

    async def history(self, channel: Channel) -> list[dict[str, Any]]:
        """Everything that happened to it, as documents."""
        return [_told(one) for one in await history(self.chain, channel)]

    async def deposit(self, channel: Channel, amount: int, *, order: str) -> None:
        """Deploy or top up."""
        seen = await look(self.chain, channel)
        aim = amount + (0 if seen is None else seen.deposited)
        make = open_message if seen is None else top_up
        message = make(channel, amount, query_id=_query_id(order))
        await self._send(
            order, message, channel, lambda now: now is not None and now.deposited >= aim
        )

    async def coop_close(
        self, channel: Channel, terms: CloseTerms, signatures: tuple[bytes, bytes], *, order: str
    ) -> None:
        """End it as both signed."""
        message = coop_close(
            channel,
            terms,
            client_signature=signatures[0],
            gateway_signature=signatures[1],
            query_id=_query_id(order),
        )
        await self._send(order, message, channel, lambda now: now is not None and now.closed)

    async def start_close(self, channel: Channel, *, order: str) -> None:
        """Begin the challenge period."""
        message = start_close(channel, query_id=_query_id(order))
        await self._send(
            order,
            message,
            channel,
            lambda now: now is not None and (now.closed or now.close_at > 0),
        )

    async def finish_close(self, channel: Channel, *, order: str) -> None:
        """End it alone."""
        message = finish_close(channel, query_id=_query_id(order))
        await self._send(order, message, channel, lambda now: now is not None and now.closed)

    @abstractmethod
    async def _send(
        self, order: str, message: Outgoing, channel: Channel, arrived: Arrived
    ) -> None: ...


class WalletSide(_Orders):
    """Sends from a W5 wallet whose key is on this machine."""

    def __init__(self, chain: ChainClient, wallet: Wallet) -> None:
        super().__init__(chain, wallet.account)
        self._wallet = wallet

    async def _send(
        self,
        order: str,
        message: Outgoing,
        channel: Channel,  # noqa: ARG002  (of the other sides)
        arrived: Arrived,  # noqa: ARG002
    ) -> None:
        kept = await self._wallet.put(await self._wallet.untried(order), message)
        sent = await self._wallet.settle(kept.id, seconds=SECONDS)
        happened = await self._wallet.effect(sent, seconds=SECONDS)
        if not happened.transaction.succeeded:
            code = happened.transaction.exit_code
            raise OrderFailed(f"the channel refused {order} with exit code {code}")


class LinkSide(_Orders):
    """Shows a link for each order and waits for the chain to show that somebody followed it."""

    def __init__(
        self,
        chain: ChainClient,
        account: bytes,
        show: Callable[[str], object],
        *,
        poll: float,
        seconds: float,
    ) -> None:
        super().__init__(chain, account)
        self._show = show
        self._poll = poll
        self._seconds = seconds

    async def _send(
        self, order: str, message: Outgoing, channel: Channel, arrived: Arrived
    ) -> None:
        self._show(transfer_link(message))
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        while not arrived(await look(self.chain, channel)):
            if loop.time() >= until:
                raise NotSeen(f"the chain shows no effect of the link: {order}")
            await asyncio.sleep(self._poll)


def transfer_link(message: Outgoing) -> str:
    """What a wallet opens to send this message: `ton://transfer/…`, in nano and bags of cells."""
    fields = {"amount": str(message.value)}
    if message.body is not None:
        fields["bin"] = _base64(message.body)
    if message.state_init is not None:
        fields["init"] = _base64(message.state_init)
    to = message.to.to_str(is_user_friendly=True, is_url_safe=True, is_bounceable=True)
    return f"ton://transfer/{to}?{urlencode(fields)}"


def parse_account(text: str) -> bytes:
    """The 32 bytes of an address in any of TON's spellings; raises `SetupError`."""
    try:
        address = Address(text)
    except (AddressError, ValueError, TypeError, IndexError):
        raise SetupError(f"{text} is no address of TON") from None
    account = bytes(address.hash_part)
    if address.wc != 0 or len(account) != ACCOUNT_BYTES:
        raise SetupError(f"{text} is no address in the basechain")
    return account


@asynccontextmanager
async def open_ton_side(
    settings: TonSettings,
    *,
    key_file: Path | None,
    account: str | None,
    outbox: Path,
    show: Callable[[str], object],
) -> AsyncIterator[ChainSide]:
    """The side of a key file, or else of a wallet elsewhere, by its address; raises `SetupError`.

    With neither it can look and not send.
    """
    poll = DEVNET_POLL if settings.network == DEVNET else POLL
    chain = open_chain(settings, poll=poll)
    try:
        with _side(chain, key_file, account, outbox, show, poll=poll) as side:
            yield side
    finally:
        await chain.close()


@contextmanager
def _side(
    chain: ChainClient,
    key_file: Path | None,
    account: str | None,
    outbox: Path,
    show: Callable[[str], object],
    *,
    poll: float,
) -> Iterator[ChainSide]:
    if key_file is None:
        sender = bytes(ACCOUNT_BYTES) if account is None else parse_account(account)
        yield LinkSide(chain, sender, show, poll=poll, seconds=LINK_SECONDS)
        return
    with open_wallet(chain, key_file, outbox, poll=poll) as wallet:
        yield WalletSide(chain, wallet)


def _told(event: ChannelEvent) -> dict[str, Any]:
    """An event as a document: amounts as text, absent ones as null."""
    amounts = ("value", "fees", "deposited", "claimed", "refunded")
    told = {name: getattr(event, name) for name in amounts}
    return {
        "kind": event.kind,
        "at": event.at,
        "lt": str(event.point.lt),
        "hash": event.point.hash.hex(),
        "source": event.source,
        "succeeded": event.succeeded,
        "exit_code": event.exit_code,
        "gas_used": event.gas_used,
        **{
            f"{name}_nano": None if amount is None else str(amount) for name, amount in told.items()
        },
        "close_at": event.close_at,
    }


def _query_id(order: str) -> int:
    return int.from_bytes(hashlib.sha256(order.encode()).digest()[:8])


def _base64(cell: Cell) -> str:
    return base64.urlsafe_b64encode(cell.to_boc()).decode("ascii")
