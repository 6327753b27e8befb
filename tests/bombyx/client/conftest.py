"""A served peer, and the unmodified SDK in front of the sealed client."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import AsyncOpenAI

from bombyx.client.answer import Listeners
from bombyx.client.disputes import Dispute
from bombyx.client.identity import Identity
from bombyx.client.receipts import VerifiedAnswer
from bombyx.client.session import Session, Wishes
from bombyx.client.transport_httpx2 import DEFAULT_TIMEOUT, sealed_async_client
from bombyx.client.waivers import Waiver
from tests.bombyx.client.peer import Peer, policy, serve
from tests.factories import NOW, seed

IDENTITY = Identity(seed("payer root"), seed("user cache"))


def chance(label: str = "chance") -> Callable[[int], bytes]:
    """Reproducible randomness that never repeats."""
    count = iter(range(2**32))
    return lambda size: seed(f"{label} {next(count)}", size)


@dataclass
class Heard:
    """What a session told its listeners."""

    receipts: list[VerifiedAnswer] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)


@dataclass
class Clock:
    """Turned by hand."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def session(clock: Clock, heard: Heard) -> Session:
    return new_session(clock, heard)


def new_session(clock: Clock, heard: Heard, **wishes: Any) -> Session:
    listeners = Listeners(
        heard.receipts.append, heard.disputes.append, on_waived=heard.waivers.append
    )
    return Session(
        policy(),
        IDENTITY,
        clock=clock,
        draw=chance(),
        wishes=Wishes(listeners, **wishes),
    )


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
async def origin(peer: Peer) -> AsyncIterator[str]:
    async with serve(peer) as url:
        yield url


@pytest.fixture
async def sdk(session: Session, origin: str) -> AsyncIterator[AsyncOpenAI]:
    http_client = sealed_async_client(session, timeout=DEFAULT_TIMEOUT, transport=None)
    async with AsyncOpenAI(
        base_url=f"{origin}/v1", api_key="sk-test", http_client=http_client, max_retries=0
    ) as client:
        yield client
