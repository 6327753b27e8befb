"""A devnet in this process and a wallet with money, for tests of this folder."""

from tests.ton.conftest import node_modules
from tests.ton.devnet.fixtures import devnet, devnet_tvm, running, wall
from tests.ton.wallet.fixtures import chain, flaky, outbox
from tests.ton.wallet.fixtures import funded as rich

__all__ = [
    "chain",
    "devnet",
    "devnet_tvm",
    "flaky",
    "node_modules",
    "outbox",
    "rich",
    "running",
    "wall",
]
