"""Devnets in memory on the session's TVM, with a clock that tests turn."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from nacl.signing import SigningKey
from pytoniq_core import Address

from ton.codec.storage import ChannelConfig
from ton.devnet.chain import Devnet
from ton.devnet.clock import Clock
from ton.devnet.configuration import machine
from ton.devnet.log import Log
from ton.devnet.process import Running, listening
from ton.settings import DEVNET
from ton.tvm.emulator import Emulator

GRAM = 10**9
GATEWAY = Address((0, b"\x07" * 32))


class Wall:
    """The real time of a test: as it was at the start, until somebody moves it."""

    def __init__(self) -> None:
        self.at = datetime.now(tz=UTC).timestamp()

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(scope="session")
def devnet_tvm(node_modules: Path) -> Iterator[Emulator]:
    with machine(DEVNET, node_modules) as emulator:
        yield emulator


@contextlib.contextmanager
def in_memory(tvm: Emulator, wall: Wall) -> Iterator[Devnet]:
    log = Log(None)
    try:
        yield Devnet(tvm, log, Clock(wall))
    finally:
        log.close()


@pytest.fixture
def devnet(devnet_tvm: Emulator, wall: Wall) -> Iterator[Devnet]:
    with in_memory(devnet_tvm, wall) as devnet:
        yield devnet


@pytest.fixture
async def running(devnet: Devnet) -> AsyncIterator[Running]:
    async with listening(devnet, host="127.0.0.1", port=0) as running:
        yield running


@pytest.fixture
async def http(running: Running) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=running.url, trust_env=False) as client:
        yield client


@dataclass(frozen=True, slots=True)
class Keys:
    """Both session keys of a channel."""

    client: SigningKey
    gateway: SigningKey


KEYS = Keys(SigningKey(b"\x01" * 32), SigningKey(b"\x02" * 32))


def channel_config(client: Address, *, salt: int = 1) -> ChannelConfig:
    return ChannelConfig(
        client=client,
        gateway=GATEWAY,
        client_key=bytes(KEYS.client.verify_key),
        gateway_key=bytes(KEYS.gateway.verify_key),
        challenge_period=86_400,
        salt=salt,
    )
