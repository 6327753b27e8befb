"""Who pays, and whose prefix cache it is: secrets of one user on one machine (SPEC 2.7, 12).

The payer's keys are derived, one for each gateway and API key: a gateway binds a payer key to one
account, and two gateways cannot recognise the same payer. The cache secret has a file of its own,
so that a team may share it and nothing else.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from bombyx.envelope.keys import SECRET_BYTES, expand
from bombyx.signing import Role, Signer

_MAX_SIGNERS = 1024
SHARDS = 16
"""So few that a shard tells 4 bits of a beginning: one in 16 unrelated conversations shares it."""


@dataclass(frozen=True, slots=True, repr=False)
class Shard:
    """Which of an account's requests may share a cached prefix: all that anyone is told of it.

    `name` is the header's `cache_shard`; `pin` draws the shard's candidates and stays here.
    """

    name: str
    pin: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """32 random bytes to derive payer keys from, and the 32 bytes of the cache secret."""

    payer_root: bytes
    cache_secret: bytes

    def __post_init__(self) -> None:
        if len(self.payer_root) != SECRET_BYTES or len(self.cache_secret) != SECRET_BYTES:
            raise ValueError("the payer root and the cache secret have 32 bytes each")

    def shard(self, authorization: str, beginning: bytes) -> "Shard":
        """The shard of requests under an API key that begin alike."""
        account = hashlib.sha256(authorization.encode()).digest()
        hashed = hashlib.sha256(beginning).digest()
        name = expand(self.cache_secret, b"bombyx/1/shard\0" + account + hashed)[0] % SHARDS
        pin = expand(self.cache_secret, b"bombyx/1/draw\0" + account + bytes([name]))
        return Shard(f"{name:x}", pin)

    def payer(self, gateway: str, authorization: str) -> Signer:
        """The key that signs requests to a gateway (hex key) under an API key."""
        account = hashlib.sha256(authorization.encode()).digest()
        return _signer(self.payer_root, bytes.fromhex(gateway) + account)


@lru_cache(maxsize=_MAX_SIGNERS)
def _signer(root: bytes, account: bytes) -> Signer:
    return Signer(Role.PAYER, expand(root, b"bombyx/1/payer\0" + account))
