"""A devnet in this process, and nodes on it."""

from tests.ton.conftest import node_modules
from tests.ton.devnet.fixtures import devnet, devnet_tvm, running, wall
from tests.ton.wallet.fixtures import chain, flaky

__all__ = ["chain", "devnet", "devnet_tvm", "flaky", "node_modules", "running", "wall"]
