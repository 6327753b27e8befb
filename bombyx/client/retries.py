"""Sealed requests that may be sent again, byte for byte (SPEC 14.1).

A retry with a new commitment could run twice and be billed twice. So what was sealed is kept for
300 seconds, named by the caller's Idempotency-Key, else by the digest of the plaintext once the
SDK says that this is a retry. Two equal calls at the same time stay two: only one that failed can
be taken up again.
"""

import hashlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bombyx.client.effects import ClearRequest
from bombyx.errors import IdempotencyConflict

KEPT_SECONDS = 300
MAX_KEPT = 512
MAX_KEPT_BYTES = 256 * 2**20
_IDEMPOTENCY = "idempotency-key"
_RETRY_COUNT = "x-stainless-retry-count"

Sealed = TypeVar("Sealed")


@dataclass(frozen=True, slots=True)
class CallName:
    """By what a call is known again; `plaintext` is the digest of its body."""

    scope: bytes
    idempotency_key: str
    plaintext: bytes
    is_retry: bool

    def same_call(self, other: "CallName") -> bool:
        """Whether both may be one call: the same caller's key, or the same caller's body."""
        if self.scope != other.scope or self.idempotency_key != other.idempotency_key:
            return False
        return bool(self.idempotency_key) or self.plaintext == other.plaintext


def name_call(request: ClearRequest) -> CallName:
    """The name of a call; callers with different API keys never meet."""
    caller = f"{request.origin}\0{request.path}\0{request.header('authorization')}"
    key = request.header(_IDEMPOTENCY)
    return CallName(
        scope=hashlib.sha256(caller.encode()).digest(),
        idempotency_key=key,
        plaintext=hashlib.sha256(request.body).digest(),
        is_retry=bool(key) or request.header(_RETRY_COUNT) not in ("", "0"),
    )


@dataclass(slots=True, eq=False, repr=False)
class Kept(Generic[Sealed]):
    """One sealed request; `busy` while an exchange uses it."""

    name: CallName
    sealed: Sealed
    size: int
    expires: int
    busy: bool = field(default=True)


class Retries(Generic[Sealed]):
    """A bounded store; the oldest go first. Shared by threads."""

    def __init__(self) -> None:
        self._kept: deque[Kept[Sealed]] = deque()
        self._lock = threading.Lock()

    def take(self, name: CallName, *, now: int) -> Kept[Sealed] | None:
        """The request that a retry must repeat, or None; raises `IdempotencyConflict`."""
        with self._lock:
            self._drop_expired(now)
            for kept in self._kept:
                if not (name.is_retry and kept.name.same_call(name)):
                    continue
                if kept.name.plaintext != name.plaintext:
                    raise IdempotencyConflict("the Idempotency-Key was used for another body")
                if not kept.busy or name.idempotency_key:
                    kept.busy = True
                    return kept
        return None

    def keep(self, name: CallName, sealed: Sealed, *, size: int, now: int) -> Kept[Sealed]:
        """Remember what is about to be sent."""
        kept = Kept(name, sealed, size, now + KEPT_SECONDS)
        with self._lock:
            self._drop_expired(now)
            self._kept.append(kept)
            while len(self._kept) > MAX_KEPT or self._bytes() > MAX_KEPT_BYTES:
                self._kept.popleft()
        return kept

    def release(self, kept: Kept[Sealed], *, answered: bool) -> None:
        """The exchange is over; what was answered is forgotten unless a key may ask for it."""
        with self._lock:
            kept.busy = False
            if answered and not kept.name.idempotency_key:
                self._forget(kept)

    def forget(self, kept: Kept[Sealed]) -> None:
        """Drop a request that provably never ran, before it is sealed anew."""
        with self._lock:
            self._forget(kept)

    def _forget(self, kept: Kept[Sealed]) -> None:
        if kept in self._kept:
            self._kept.remove(kept)

    def _drop_expired(self, now: int) -> None:
        while self._kept and self._kept[0].expires <= now:
            self._kept.popleft()

    def _bytes(self) -> int:
        return sum(kept.size for kept in self._kept)
