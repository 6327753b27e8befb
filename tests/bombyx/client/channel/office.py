"""A gateway's office for channels, and a chain of a few lines, for wallets that open and close."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from bombyx import canonical
from bombyx.client.channel.chain_port import ChainSide, Looked
from bombyx.client.channel.funding import Terms
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.errors import BombyxError, CloseInFlight, envelope
from bombyx.money.channel.acceptance import ChannelRow, close_asked, sign_close_terms
from bombyx.money.channel.closing import CloseTerms
from bombyx.money.channel.documents import Registration, check_proof, config_of, view_of
from bombyx.money.channel.identity import Channel, admit
from bombyx.money.channel.spending import Caps
from bombyx.money.channel.terms import PaymentTerms
from tests.bombyx.client.peer import ENTRIES, Peer
from tests.bombyx.money.channel import parties
from tests.factories import NOW, seed

ORIGIN = "http://gateway.test"
CAPS = Caps(max_inflight=1_000_000, max_daily=10**9, max_deposit=10**9)
DEPOSIT = 50_000_000
WALLET = seed("wallet account")
DRAWN = iter(range(2**32))


@dataclass
class ToyChain:
    """A `ChainSide`: each order is carried out once, at once; `troubles` fail the next ones."""

    network: int = parties.NETWORK
    account: bytes = WALLET
    channels: dict[bytes, Looked] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    troubles: list[BombyxError] = field(default_factory=list)
    period: int = 3_600
    now: int = NOW
    hold: Callable[[], None] = lambda: None

    async def look(self, channel: Channel) -> Looked | None:
        seen = self.channels.get(channel.account)
        return None if seen is None else replace(seen, at=self.now)

    async def history(self, channel: Channel) -> list[dict[str, Any]]:
        return [
            {"kind": order, "at": self.now, "succeeded": True, "hash": channel.account.hex()}
            for order in self.orders
        ]

    def _new(self, order: str) -> bool:
        self.hold()
        if self.troubles:
            raise self.troubles.pop(0)
        is_new = order not in self.orders
        self.orders.append(order)
        return is_new

    async def deposit(self, channel: Channel, amount: int, *, order: str) -> None:
        seen = self.channels.get(channel.account) or Looked(0, 0, 0, closed=False, at=0)
        if self._new(order):
            self.channels[channel.account] = replace(seen, deposited=seen.deposited + amount)

    async def coop_close(
        self, channel: Channel, terms: CloseTerms, signatures: tuple[bytes, bytes], *, order: str
    ) -> None:
        if self._new(order):
            seen = self.channels[channel.account]
            self.channels[channel.account] = replace(seen, closed=True, claimed=terms.amount)

    async def start_close(self, channel: Channel, *, order: str) -> None:
        if self._new(order):
            seen = self.channels[channel.account]
            self.channels[channel.account] = replace(seen, close_at=self.now + self.period)

    async def finish_close(self, channel: Channel, *, order: str) -> None:
        if self._new(order):
            seen = self.channels[channel.account]
            self.channels[channel.account] = replace(seen, closed=True)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[ChainSide]:
        yield self


@dataclass
class Office:
    """Answers a wallet's HTTP by the rules; its rows are what the till would serve from."""

    chain: ChainSide
    rows: dict[str, ChannelRow] = field(default_factory=dict)
    known: dict[str, Channel] = field(default_factory=dict)
    receipts: dict[str, bytes] = field(default_factory=dict)
    terms: Callable[[PaymentTerms], PaymentTerms] = lambda terms: terms
    blind: int = 0
    """So many looks at the chain that see nothing."""
    busy: int = 0
    """So often requests still run when a close is asked for."""
    now: int = NOW
    down: bool = False

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if self.down:
            raise httpx2.ConnectError("down")
        try:
            return await self._answer(request.method, request.url.path, request)
        except BombyxError as error:
            return httpx2.Response(error.status, json=envelope(error))

    async def _answer(  # noqa: PLR0911  (one per route)
        self, method: str, path: str, request: httpx2.Request
    ) -> httpx2.Response:
        if path == "/v1/confidential/workers":
            directory = Peer(entries=list(ENTRIES.values())).directory()
            return httpx2.Response(200, content=msgspec.json.encode(directory))
        if path == "/v1/channels/terms":
            offer = parties.offer(0, min_deposit="10000000")
            told = PaymentTerms(v="bombyx-402/1", error="payment_required", accepts=[offer])
            return httpx2.Response(200, content=canonical.encode(self.terms(told)))
        if path == "/v1/receipts":
            found = self.receipts.get(request.url.params["c"])
            if found is None:
                return httpx2.Response(404, json={"error": {"message": "none", "code": "x"}})
            document = msgspec.json.encode({"receipt": msgspec.Raw(found)})
            return httpx2.Response(200, content=document)
        if (method, path) == ("POST", "/v1/channels"):
            return await self._register(canonical.decode(request.content, Registration))
        name = path.split("/")[3]
        if name not in self.rows:
            return httpx2.Response(404, json={"error": {"message": "none", "code": "not_found"}})
        return self._close(name) if path.endswith("/close") else self._view(name)

    async def _register(self, told: Registration) -> httpx2.Response:
        channel = admit(
            int(told.network.removeprefix("tvm:")),
            config_of(told),
            bytes.fromhex(told.channel),
            payee=parties.PAYEE,
            payee_key=parties.GATEWAY.public_key,
        )
        check_proof(told, channel)
        seen = await self.chain.look(channel)
        if self.blind or seen is None:
            self.blind -= 1
            error = {"message": "not there yet", "code": "channel_not_found"}
            return httpx2.Response(409, json={"error": error})
        self.known[told.channel] = channel
        row = self.rows.get(told.channel, ChannelRow())
        self.rows[told.channel] = replace(row, deposited=seen.deposited)
        return self._view(told.channel)

    def _view(self, name: str) -> httpx2.Response:
        channel = self.known[name]
        view = view_of(channel.network, channel.account, self.rows[name])
        return httpx2.Response(200, content=canonical.encode(view))

    def _close(self, name: str) -> httpx2.Response:
        channel, row = self.known[name], close_asked(self.rows[name])
        if self.busy:
            self.busy -= 1
            raise CloseInFlight("requests run")
        terms = CloseTerms(row.charged, self.now + 300)
        until = terms.valid_until
        self.rows[name] = sign_close_terms(row, row.charged, valid_until=until, now=self.now)
        signature = parties.GATEWAY.sign_close(channel, terms).hex()
        answer = {"amount_nano": str(terms.amount), "valid_until": until}
        return httpx2.Response(200, json={**answer, "gateway_signature": signature})

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self))

    @contextlib.asynccontextmanager
    async def routes(self) -> AsyncIterator[GatewayRoutes]:
        async with self.client() as client:
            yield GatewayRoutes(client, origin=ORIGIN, authorization="Bearer sk-test")


def wished(root: Path, **changes: Any) -> Terms:
    """What the owner allows."""
    values: dict[str, Any] = {
        "root": root,
        "caps": CAPS,
        "amount": DEPOSIT,
        "keys": (parties.GATEWAY.public_key.hex(),),
        "clock": lambda: NOW,
        "draw": lambda size: seed(f"wallet {next(DRAWN)}", size),
        "pause": 0.0,
    }
    return Terms(**values | changes)
