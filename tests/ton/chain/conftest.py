"""What devnet's and chain's tests share."""

from tests.ton.devnet.fixtures import devnet, devnet_tvm, http, running, wall

__all__ = ["devnet", "devnet_tvm", "http", "running", "wall"]
