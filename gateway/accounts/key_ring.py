"""Which key belongs to whom, remembered for a few seconds.

A revoked key works for at most `VALID_S` longer. Unknown keys are remembered shortly and apart, so
that guesses neither reach the database each time nor push good keys out.
"""

import asyncio
from collections import OrderedDict
from typing import Generic, TypeVar

from bombyx.errors import Forbidden, Unauthenticated
from gateway.accounts.keys import START, digest_of
from gateway.metering.clock import Clock
from gateway.metering.port import Credentials
from gateway.metering.rows import StoredKey

VALID_S = 5.0
UNKNOWN_S = 1.0
MAX_ENTRIES = 10_000
MAX_SECRET = 256
"""Longer texts are no keys and are not hashed."""

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """A bounded table whose entries expire; the oldest goes first."""

    def __init__(self, *, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Value | None:
        """The value, unless it is too old."""
        entry = self._entries.get(key)
        if entry is None or self._clock.monotonic() >= entry[0]:
            return None
        return entry[1]

    def put(self, key: bytes, value: Value, *, asked_at: float) -> None:
        """Remember what was true at `asked_at`."""
        self._entries[key] = (asked_at + self._seconds, value)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)


class KeyRing:
    """Looks API keys up; one query at a time per key."""

    def __init__(self, credentials: Credentials, *, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._valid: Remembered[StoredKey] = Remembered(seconds=VALID_S, clock=clock)
        self._unknown: Remembered[bool] = Remembered(seconds=UNKNOWN_S, clock=clock)
        self._asking: dict[bytes, asyncio.Task[StoredKey | None]] = {}

    async def authenticate(self, secret: str) -> StoredKey:
        """Who presents this key; raises `Unauthenticated` for one unknown, revoked or expired."""
        if not secret.startswith(START) or len(secret) > MAX_SECRET:
            # OpenAI's first words: LiteLLM tells a wrong key from a wrong request by them.
            raise Unauthenticated("Incorrect API key provided: it is none of this gateway's")
        digest = digest_of(secret)
        found = self._valid.get(digest)
        if found is None and self._unknown.get(digest) is None:
            found = await self._ask(digest)
        if found is None:
            raise Unauthenticated("the API key is unknown, revoked or expired")
        return found

    async def _ask(self, digest: bytes) -> StoredKey | None:
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._look_up(digest))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # Shielded: one client that leaves does not fail the others that wait for the same key.
        return await asyncio.shield(task)

    async def _look_up(self, digest: bytes) -> StoredKey | None:
        asked_at = self._clock.monotonic()
        found = await self._credentials.find_key(digest)
        if found is not None:
            self._valid.put(digest, found, asked_at=asked_at)
        else:
            self._unknown.put(digest, True, asked_at=asked_at)  # noqa: FBT003 - a set of keys
        return found


class PayerBook:
    """Binds payer keys to accounts on first use (SPEC 2.7); a binding never changes."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._bound: OrderedDict[str, str] = OrderedDict()

    async def check(self, payer: str, account: str) -> None:
        """Raises `Forbidden` where the key is another account's."""
        owner = self._bound.get(payer)
        if owner is None:
            owner = self._bound[payer] = await self._credentials.bind_payer(payer, account)
            if len(self._bound) > MAX_ENTRIES:
                self._bound.popitem(last=False)
        if owner != account:
            raise Forbidden("this payer key belongs to another account")
