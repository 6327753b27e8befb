"""The bare tier's shortcut between gateway and worker (SPEC 15): one HPKE wrap, many requests.

A session secret is wrapped once per (gateway process, keyset); each request then takes its DEK and
response secret from a counter that the worker accepts once. Only `tier = bare` may use it.
"""

import hmac

from bombyx.envelope.keys import (
    DOES_NOT_OPEN,
    SECRET_BYTES,
    PublicSealingKey,
    SealingKey,
    expand,
)
from bombyx.envelope.request import RequestKeys
from bombyx.errors import CannotOpen, ReplayedRequest

MAX_SESSION_SECONDS = 600
MAX_SESSION_REQUESTS = 2**20
COUNTER_WINDOW = 4096
_LABEL = b"bombyx/1/session\0"


def session_info(worker: bytes, gateway: bytes, session: bytes) -> bytes:
    """What the wrapped session secret is bound to: worker, gateway key, 16-byte session id."""
    return _LABEL + worker + gateway + session


def wrap_session(key: PublicSealingKey, secret: bytes, info: bytes) -> bytes:
    """Send a session secret to a worker."""
    return key.wrap(secret, info)


def unwrap_session(key: SealingKey, blob: bytes, info: bytes) -> bytes:
    """Take a session secret at the worker; raises `CannotOpen`."""
    secret = key.unwrap(blob, info)
    if len(secret) != SECRET_BYTES:
        raise CannotOpen(DOES_NOT_OPEN)
    return secret


def request_keys(secret: bytes, counter: int) -> RequestKeys:
    """DEK and response secret of the request with this counter: 64 bytes of HKDF-Expand."""
    info = b"req" + counter.to_bytes(8)
    dek = expand(secret, info)
    return RequestKeys(dek, hmac.digest(secret, dek + info + b"\x02", "sha256"))


class CounterWindow:
    """Accepts each counter once, out of order within a window."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen: set[int] = set()

    def accept(self, counter: int) -> None:
        """Raises `ReplayedRequest` for a counter seen before, too old or beyond the limit."""
        floor = self._highest - COUNTER_WINDOW
        if counter <= floor or counter in self._seen or counter >= MAX_SESSION_REQUESTS:
            raise ReplayedRequest("the session counter was used before")
        self._seen.add(counter)
        if counter > self._highest:
            self._highest = counter
            if len(self._seen) > 2 * COUNTER_WINDOW:
                oldest = counter - COUNTER_WINDOW
                self._seen = {seen for seen in self._seen if seen > oldest}
