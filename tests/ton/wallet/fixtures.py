"""Wallets on a devnet in this process, and a node that loses messages."""

import hashlib
from collections.abc import Iterator

import pytest
from pytoniq_core import Address, Cell

from ton.chain.agreed import AgreedChain
from ton.devnet.chain import Devnet
from ton.devnet.node import DevnetNode
from ton.settings import DEVNET
from ton.wallet.keys import WalletKey
from ton.wallet.sqlite_outbox import SqliteOutbox
from ton.wallet.w5 import wallet_address
from ton.wallet.wallet import Wallet

GRAM = 10**9
KEY = WalletKey(hashlib.sha256(b"a wallet of tests").digest())
OWN = wallet_address(KEY.public_key, network=DEVNET)
SOMEBODY = Address((0, b"\x55" * 32))


class Flaky(DevnetNode):
    """Loses what it is given while `loses`, and counts."""

    def __init__(self, devnet: Devnet, *, name: str = "flaky") -> None:
        super().__init__(devnet, name=name)
        self.loses = False
        self.given: list[Cell] = []

    async def send(self, message: Cell) -> None:
        self.given.append(message)
        if not self.loses:
            await super().send(message)


@pytest.fixture
def flaky(devnet: Devnet) -> Flaky:
    return Flaky(devnet)


@pytest.fixture
def chain(flaky: Flaky) -> AgreedChain:
    return AgreedChain([flaky], network=DEVNET, patience=(0.01,), poll=0.01)


@pytest.fixture
def outbox() -> Iterator[SqliteOutbox]:
    outbox = SqliteOutbox(None, source=OWN)
    yield outbox
    outbox.close()


@pytest.fixture
def funded(chain: AgreedChain, outbox: SqliteOutbox, devnet: Devnet) -> Wallet:
    devnet.give(OWN, 100 * GRAM)
    return Wallet(chain, KEY, outbox, poll=0.01)
