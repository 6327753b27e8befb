"""An unmodified SDK that pays a till by channel, all on real sockets and a real disk."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from bombyx.client.answer import Listeners
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.records import record_of
from bombyx.client.channel.store import create_channel
from bombyx.client.channel.wallet import Wallet
from bombyx.client.session import Session, Wishes
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.money.channel.spending import Caps, topped_up
from tests.bombyx.client.channel.till import Till
from tests.bombyx.client.conftest import IDENTITY, Clock, Heard, chance
from tests.bombyx.client.peer import Peer, policy
from tests.bombyx.money.channel import parties
from tests.factories import GATEWAY, NOW, seed

BEARER = "Bearer sk-test"
PAYER = IDENTITY.payer(GATEWAY.public_hex, BEARER).public_hex
CAPS = Caps(max_inflight=1_000_000, max_daily=100_000_000, max_deposit=50_000_000)
DEPOSIT = 10_000_000


def lay_down(root: Path, origin: str = "http://gateway", **fields: Any) -> Path:
    """A channel's folder, without a deposit."""
    values: dict[str, Any] = {
        "identity": GATEWAY.public_hex,
        "payer": PAYER,
        "origin": origin,
        "opened_at": NOW,
    }
    record = record_of(parties.CHANNEL, parties.CLIENT, **(values | fields))
    return create_channel(root, record, seed("session key"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "channels"


@pytest.fixture
def funded(root: Path, clock: Clock) -> Path:
    folder = lay_down(root)
    wallet = Wallet(root, CAPS, clock=clock)
    (payer,) = wallet.open_for("http://gateway")
    payer.change(lambda purse: topped_up(purse, DEPOSIT)).result()
    wallet.close()
    return folder


@pytest.fixture
def wallet(root: Path, funded: Path, clock: Clock) -> Iterator[Wallet]:
    wallet = Wallet(root, CAPS, clock=clock)
    yield wallet
    wallet.close()


@pytest.fixture
def payer(wallet: Wallet) -> Payer:
    found = wallet.find(GATEWAY.public_hex, PAYER)
    assert found is not None
    return found


@pytest.fixture
def till(peer: Peer) -> Till:
    till = Till()
    peer.instead = till
    return till


@pytest.fixture
def session(clock: Clock, heard: Heard, wallet: Wallet) -> Session:
    return paying_session(clock, heard, wallet)


def paying_session(clock: Clock, heard: Heard, wallet: Wallet) -> Session:
    listeners = Listeners(
        heard.receipts.append, heard.disputes.append, on_waived=heard.waivers.append
    )
    return Session(
        policy(), IDENTITY, clock=clock, draw=chance(), wishes=Wishes(listeners), wallet=wallet
    )


Connect = Callable[[Session], AsyncOpenAI]


@pytest.fixture
async def connect(origin: str) -> AsyncIterator[Connect]:
    opened: list[AsyncOpenAI] = []

    def connected(session: Session) -> AsyncOpenAI:
        http = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
        sdk = AsyncOpenAI(
            base_url=f"{origin}/v1", api_key="sk-test", http_client=http, max_retries=0
        )
        opened.append(sdk)
        return sdk

    yield connected
    for sdk in opened:
        await sdk.close()
