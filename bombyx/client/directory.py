"""The gateway's directory of workers, and what verifying its entries came to (SPEC 13).

Both are remembered: a directory for a minute, a verification until what it rests on expires. The
key of a verification is the digest of everything that it read, so that nothing can be slipped under
an old result.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec

from bombyx import canonical
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.policy import Policy, policy_hash
from bombyx.attestation.verify import VerifiedWorker, verify_worker
from bombyx.attestation.wanted import read_documents
from bombyx.errors import BadAnswer, GatewayRefused, WorkerRefused

DIRECTORY_SECONDS = 60
REFUSAL_SECONDS = 60
"""A refusal may be healed by time (a clock, a rotation), so it is looked into again."""
MAX_LISTINGS = 64
MAX_VERIFICATIONS = 4096
_NOTHING: Mapping[str, str] = MappingProxyType({})

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """A bounded map whose entries expire; shared by threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Key, tuple[int, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, *, now: int) -> Value | None:
        """The live entry, or None."""
        with self._lock:
            expires, value = self._entries.get(key, (0, None))
            return value if now < expires else None

    def put(self, key: Key, value: Value, *, expires: int) -> None:
        """Remember until `expires` (unix seconds), pushing out the oldest."""
        with self._lock:
            self._entries[key] = (expires, value)
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an entry was refused, remembered so that it costs nothing to refuse again."""

    message: str
    steps: tuple[object, ...]


Verifications = Remembered[tuple[str, ...], VerifiedWorker | Refused]


class Verifier:
    """Verifies directory entries under one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.policy_hash = policy_hash(policy)
        # One verifier has one policy: its hash need not be part of the key.
        self._known: Verifications = Remembered(MAX_VERIFICATIONS)

    def verify(
        self,
        entry: Entry,
        collateral: Collateral | None,
        *,
        now: int,
        vendor: Mapping[str, str] = _NOTHING,
    ) -> VerifiedWorker:
        """The worker that the entry proves; `vendor` has vendors' documents as text by name.

        Raises `WorkerRefused`.
        """
        key = _digests(entry, collateral, vendor)
        known = self._known.get(key, now=now)
        if isinstance(known, VerifiedWorker):
            return known
        if known is not None:
            raise WorkerRefused(known.message, steps=known.steps)
        try:
            worker = verify_worker(
                entry.keyset,
                entry.evidence,
                collateral,
                policy=self.policy,
                now=now,
                vendor=read_documents(vendor),
            )
        except WorkerRefused as refusal:
            refused = Refused(refusal.message, refusal.steps)
            self._known.put(key, refused, expires=now + REFUSAL_SECONDS)
            raise
        self._known.put(key, worker, expires=worker.expires_at)
        return worker


def _digests(
    entry: Entry, collateral: Collateral | None, vendor: Mapping[str, str]
) -> tuple[str, ...]:
    return (
        canonical.digest(entry.keyset).hex(),
        canonical.digest(entry.evidence).hex(),
        canonical.digest(collateral).hex() if collateral is not None else "",
        canonical.digest(vendor).hex() if vendor else "",
    )


def collateral_of(directory: Directory, entry: Entry) -> Collateral | None:
    """The collateral that an entry's evidence names; verification compares its digest."""
    named = entry.evidence.collateral
    return directory.collateral.get(named) if isinstance(named, str) else None


def vendor_of(directory: Directory, entry: Entry) -> dict[str, str]:
    """The vendors' documents that the directory has for an entry, unread."""
    if not isinstance(directory.vendor, dict) or not isinstance(entry.vendor, list):
        return {}
    shelf = directory.vendor
    return {name: shelf[name] for name in entry.vendor if name in shelf}


def parse_directory(data: bytes, policy: Policy) -> Directory:
    """Read a directory; raises `BadAnswer`, or `GatewayRefused` for a key outside of the pin."""
    try:
        directory = msgspec.json.decode(data, type=Directory)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadAnswer("the gateway's directory of workers is not one") from None
    if not policy.allows_gateway(directory.gateway):
        raise GatewayRefused(
            f"the gateway's key {directory.gateway[:16]}… is none that the policy pins"
        )
    return directory
