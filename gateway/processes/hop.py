"""What one process of a gateway shows another (SPEC 10.6): short-lived, for one slot and epoch.

A link's path is open to the network, since workers come there; what processes ask of each other
below it wants this. Made with a key of its own, derived from the cluster's.
"""

import hmac
import struct
from hashlib import sha256

from bombyx.errors import Unauthenticated

HOP_HEADER = b"x-bombyx-hop"
"""A request that carries it came from another process, and goes no further."""
MAX_AGE_SECONDS = 60
"""Processes may run on machines whose clocks differ."""
_KEY_CONTEXT = b"bombyx/1/hop\0"
_FIELDS = struct.Struct(">IQQ")
_PARTS = 2


class HopKey:
    """Makes and checks what processes show each other; never shows its key."""

    __slots__ = ("_key",)

    def __init__(self, cluster_key: bytes) -> None:
        self._key = hmac.digest(cluster_key, _KEY_CONTEXT, sha256)

    def show(self, path: str, *, slot: int, epoch: int, now: int) -> str:
        """For one path of the process that has `slot` in `epoch`; `now` in unix seconds."""
        return f"{now}.{self._mac(path, slot, epoch, now).hex()}"

    def check(self, shown: bytes, path: str, *, slot: int, epoch: int, now: int) -> None:
        """Raises `Unauthenticated` unless another process of this gateway meant us, just now."""
        parts = shown.split(b".")
        if len(parts) == _PARTS and parts[0].isdigit() and len(parts[0]) <= len(str(2**63)):
            at = int(parts[0])
            mac = self._mac(path, slot, epoch, at).hex().encode() if at < 2**64 else b""
            if hmac.compare_digest(mac, parts[1]) and abs(now - at) <= MAX_AGE_SECONDS:
                return
        raise Unauthenticated("only processes of this gateway may ask that")

    def _mac(self, path: str, slot: int, epoch: int, at: int) -> bytes:
        return hmac.digest(self._key, _FIELDS.pack(slot, epoch, at) + path.encode(), sha256)
