"""Those who pay in a storm: a wallet and a channel each, behind a sidecar or in this process."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

import bombyx
from bombyx.client.channel import ending, funding
from bombyx.client.channel.chain_port import ChainSide
from bombyx.client.channel.funder import direct_client
from bombyx.client.channel.funding import Terms
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.ton_side import open_ton_side
from bombyx.client.channel.wallet import FOLDER, channel_folders, open_payer
from bombyx.client.opening import load_identity, unix_seconds
from bombyx.errors import BombyxError, ChannelClosed
from bombyx.money.channel.spending import Caps
from tests.chaos.processes import Process, free_port
from tests.chaos.site import Site
from ton.codec.cells import raw
from ton.settings import DEVNET, TonSettings
from ton.wallet.keys import read_key
from ton.wallet.w5 import wallet_address

GRAM = 10**9
GIVEN = 50 * GRAM
"""What each wallet has at first."""
CAPS = Caps(max_inflight=3 * GRAM, max_daily=1000 * GRAM, max_deposit=20 * GRAM)
TOP_UP = 15 * GRAM // 100
"""What a sidecar opens with and tops up by: soon too little, so that it must do so under fire."""
AFTER_DEADLINES_S = 1_000
"""The clients' deadlines leave ten minutes for clocks that differ."""
WHOLE = 5 * GRAM
"""What a wallet of this process opens with: nobody tops it up."""


def ton_settings(url: str) -> TonSettings:
    """Of whoever looks at the devnet."""
    return TonSettings(providers=(f"{url}/api/v2",), network=DEVNET, requests_per_second=1000)


def ton_environment(url: str) -> dict[str, str]:
    """The same for a process."""
    return {
        "BOMBYX_TON_PROVIDERS": json.dumps([f"{url}/api/v2"]),
        "BOMBYX_TON_REQUESTS_PER_SECOND": "1000",
    }


@dataclass(slots=True)
class Purse:
    """One wallet with its channel; `sidecar` is None where this process pays itself."""

    name: str
    folder: Path
    site: Site
    chain_url: str
    sidecar: Process | None = None
    address: str = ""
    url: str = ""
    http: httpx2.AsyncClient | None = None

    @property
    def root(self) -> Path:
        """Where its channels lie."""
        return self.folder / FOLDER

    @property
    def words(self) -> Path:
        """The wallet's key."""
        return self.folder / "wallet.words"

    @property
    def base_url(self) -> str:
        """Where an SDK sends requests."""
        if self.sidecar is None:
            return f"{self.site.url}/v1"
        # Where its port was busy it took another; while it starts again, as it was.
        self.url = str(self.sidecar.ready.get("url", self.url))
        return self.url

    def folders(self) -> list[Path]:
        """Its channels: more than one would be a defect."""
        return channel_folders(self.root)

    @contextlib.asynccontextmanager
    async def side(self) -> AsyncIterator[ChainSide]:
        """The chain, with its wallet."""
        async with open_ton_side(
            ton_settings(self.chain_url),
            key_file=self.words,
            account=None,
            outbox=self.folder / "wallet",
            show=str,
        ) as side:
            yield side

    @contextlib.asynccontextmanager
    async def routes(self) -> AsyncIterator[GatewayRoutes]:
        """The gateway's."""
        async with direct_client() as client:
            yield GatewayRoutes(
                client, origin=self.site.url, authorization=f"Bearer {self.site.api_key}"
            )

    async def open(self) -> None:
        """Open a channel and a client that pays from it, in this process."""
        policy = self.site.policy
        terms = Terms(self.root, CAPS, WHOLE, policy.channel_keys, unix_seconds, os.urandom)
        async with self.routes() as routes, self.side() as side:
            identity = await routes.identity(policy)
            payer = load_identity(Path(os.environ["BOMBYX_STATE"]) / "client").payer(
                identity, f"Bearer {self.site.api_key}"
            )
            one = await funding.open_channel(
                routes, side, terms, identity=identity, payer=payer.public_hex, say=str
            )
            one.close()

    def payer(self, *, later: int = 0) -> Payer:
        """Its channel's books, taken for this process, `later` by so many seconds."""
        (folder,) = self.folders()
        return open_payer(folder, CAPS, clock=lambda: unix_seconds() + later)


def sidecar_purse(name: str, site: Site, chain_url: str) -> Purse:
    """One whose sidecar opens and tops up; not started."""
    purse = _purse(name, site, chain_url)
    state = purse.folder
    arguments = [
        *("proxy", "--gateway", site.url, "--policy", str(site.folder / "policy.toml")),
        *("--port", str(free_port()), "--state", str(state), "--pay"),
        *("--mnemonic-file", str(purse.words), "--token-file", str(state / "token")),
    ]
    environment = {
        **ton_environment(chain_url),
        "BOMBYX_CLIENT_API_KEY": site.api_key,
        "BOMBYX_CLIENT_TOP_UP_NANO": str(TOP_UP),
        "BOMBYX_CLIENT_MAX_INFLIGHT_NANO": str(CAPS.max_inflight),
        "BOMBYX_CLIENT_MAX_DAILY_NANO": str(CAPS.max_daily),
        "BOMBYX_CLIENT_MAX_DEPOSIT_NANO": str(CAPS.max_deposit),
    }
    purse.sidecar = Process(f"sidecar-{name}", arguments, site.folder, environment)
    return purse


def library_purse(name: str, site: Site, chain_url: str) -> Purse:
    """One that pays inside this process, its channel still to be opened."""
    return _purse(name, site, chain_url)


def _purse(name: str, site: Site, chain_url: str) -> Purse:
    purse = Purse(name, site.folder / f"purse-{name}", site, chain_url)
    purse.folder.mkdir()
    # A seed instead of words: deriving a key from words takes a while each time.
    purse.words.write_text(os.urandom(32).hex())
    purse.words.chmod(0o600)
    purse.address = raw(wallet_address(read_key(purse.words).public_key, network=DEVNET))
    return purse


def http_of(purse: Purse, told: list[bombyx.VerifiedAnswer]) -> httpx2.AsyncClient:
    """What an SDK of this purse sends with."""
    timeout = httpx2.Timeout(60.0, connect=5.0)
    if purse.sidecar is not None:
        limits = httpx2.Limits(max_connections=100)
        return httpx2.AsyncClient(timeout=timeout, trust_env=False, limits=limits)
    return bombyx.async_http_client(
        policy=purse.site.policy, timeout=timeout, on_receipt=told.append, channel=purse.root
    )


async def collect(purse: Purse) -> None:
    """Ask for the receipts of all that was lost on the way, when all deadlines are past.

    Not earlier: the last word of a worker that died counts only then.
    """
    with contextlib.closing(purse.payer(later=AFTER_DEADLINES_S)) as one:
        async with purse.routes() as routes:
            for c in [*one.purse.inflight, *one.purse.lapsed]:
                one.late(c, await routes.receipt(c))


async def close_together(purse: Purse) -> None:
    """As both sign."""
    with contextlib.closing(purse.payer()) as one:
        async with purse.routes() as routes, purse.side() as side:
            await ending.close_together(one, routes, side, say=str, pause=0.2)


async def start_alone(purse: Purse) -> None:
    """The first half of a close that needs nobody."""
    with contextlib.closing(purse.payer()) as one:
        async with purse.side() as side:
            await ending.close_alone(one, side, say=str)


async def finish_alone(purse: Purse) -> None:
    """The second, after the challenge period."""
    with contextlib.closing(purse.payer()) as one:
        async with purse.side() as side:
            await ending.withdraw(one, side, say=str)


async def again_until_done(
    deed: Callable[[Purse], Awaitable[None]], purse: Purse, *, tries: int
) -> list[str]:
    """As a person would: the same command again after each error. What went wrong on the way."""
    told: list[str] = []
    for _ in range(tries):
        try:
            await deed(purse)
        except ChannelClosed:
            return told
        except BombyxError as error:
            told.append(f"{purse.name}: {error.code}: {error.message}")
        else:
            return told
    raise TimeoutError(f"{purse.name} could not close: {told[-1]}")
