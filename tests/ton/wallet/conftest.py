"""A devnet in this process, a wallet with money on it, and a chain that can be made to fail."""

from tests.ton.devnet.fixtures import devnet, devnet_tvm, wall
from tests.ton.wallet.fixtures import chain, flaky, funded, outbox

__all__ = ["chain", "devnet", "devnet_tvm", "flaky", "funded", "outbox", "wall"]
