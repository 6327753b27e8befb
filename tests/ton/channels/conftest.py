"""A devnet, a client's and a gateway's wallet, and a channel between them."""

from tests.ton.devnet.fixtures import devnet, devnet_tvm, wall
from tests.ton.wallet.fixtures import chain, flaky

__all__ = ["chain", "devnet", "devnet_tvm", "flaky", "wall"]
