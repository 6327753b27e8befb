"""A gateway with books in each database and a wallet on a devnet in this process."""

from tests.gateway.channels.chain.fixtures import gate
from tests.gateway.channels.conftest import channels, store
from tests.ton.conftest import base_config, node_modules
from tests.ton.devnet.fixtures import devnet, devnet_tvm, running, wall
from tests.ton.wallet.fixtures import chain, flaky

__all__ = [
    "base_config",
    "chain",
    "channels",
    "devnet",
    "devnet_tvm",
    "flaky",
    "gate",
    "node_modules",
    "running",
    "store",
    "wall",
]
