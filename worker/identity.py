"""Who this worker is: keys born at boot, and one generation of keys after the other (SPEC 4).

Boot id, receipt key, link key and cache secret last as long as the process. HPKE keys last for one
generation of 12 hours, never leave memory, and end with it. Each generation has a keyset, and so a
worker id, evidence and offers of its own.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from bombyx.attestation.keyset import HpkeKey, Keyset, ModelRecord, keyset_digest
from bombyx.envelope.keys import SealingKey, encode_public_key
from bombyx.signing import SEED_BYTES, Role, Signer
from worker.attest.port import Attested, Quoter, attest
from worker.engine.port import EngineModel
from worker.offers import OfferBook

ROTATION_SECONDS = 12 * 3600
ADMISSIBLE_SECONDS = 15 * 60
"""How long the keyset before stays good for requests that were sealed to it."""
KEYSET_LIFE_SECONDS = ROTATION_SECONDS + 3600
"""Rotation, its overlap and slow clocks, well within the 24 hours that clients allow."""
_ID_BYTES = 16
_MLKEM_SEED_BYTES = 64


@dataclass(frozen=True, slots=True, repr=False)
class Boot:
    """What one process is born with and takes to its grave; `id` is 16 bytes in hex."""

    id: str
    receipt: Signer
    link: Signer
    cache_secret: bytes

    @classmethod
    def fresh(cls) -> "Boot":
        """New keys from the system's randomness."""
        return cls(
            id=secrets.token_hex(_ID_BYTES),
            receipt=Signer(Role.RECEIPT, os.urandom(SEED_BYTES)),
            link=Signer(Role.LINK, os.urandom(SEED_BYTES)),
            cache_secret=os.urandom(SEED_BYTES),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Generation:
    """One keyset with what belongs to it; `worker` is its digest in hex."""

    worker: str
    keyset: Keyset
    attested: Attested
    sealing_key: SealingKey
    models: dict[str, ModelRecord]
    offers: OfferBook = field(default_factory=OfferBook)

    @property
    def key_id(self) -> str:
        """The id of the one HPKE key."""
        return self.keyset.hpke[0].id


async def new_generation(
    boot: Boot, quoter: Quoter, *, models: Sequence[EngineModel], payout: str, now: int
) -> Generation:
    """Fresh HPKE keys with evidence over them; `now` in unix seconds.

    Raises `AttestationError` where the machine gives no quote.
    """
    sealing_key = SealingKey.from_seeds(os.urandom(_MLKEM_SEED_BYTES), os.urandom(SEED_BYTES))
    records = [_record(model) for model in models]
    public = encode_public_key(sealing_key.public_bytes)
    keyset = Keyset(
        v="bombyx/1",
        hpke=[HpkeKey(id=secrets.token_hex(_ID_BYTES), alg="mlkem768-x25519", pk=public)],
        receipt_key=boot.receipt.public_hex,
        link_key=boot.link.public_hex,
        not_after=now + KEYSET_LIFE_SECONDS,
        boot=boot.id,
        platform=cast(Literal["tdx", "sev-snp", "vtpm", "simulated"], quoter.platform),
        models=records,
        payout=payout,
    )
    attested = await attest(quoter, keyset)
    by_name = {record.id: record for record in records}
    return Generation(keyset_digest(keyset), keyset, attested, sealing_key, by_name)


def _record(model: EngineModel) -> ModelRecord:
    return ModelRecord(
        id=model.id,
        weights=model.weights,
        engine=model.engine,
        bytes_factor=model.bytes_factor,
        overhead=model.overhead,
        max_image_tokens=model.max_image_tokens,
        context=model.context,
    )


class Generations:
    """The current generation, and those before it that are still admissible."""

    def __init__(self, first: Generation) -> None:
        self.current = first
        self._retiring: dict[str, tuple[Generation, int]] = {}

    def rotate(self, successor: Generation, now: int) -> None:
        """Make `successor` current; the one before stays admissible 15 minutes from `now`."""
        self._retiring[self.current.worker] = (self.current, now + ADMISSIBLE_SECONDS)
        self.current = successor
        self._retiring = {
            worker: (old, until) for worker, (old, until) in self._retiring.items() if until >= now
        }

    def take_back(self, before: Generation) -> None:
        """Make the generation before current again: nobody wanted its successor."""
        self._retiring.pop(before.worker, None)
        self.current = before

    def admissible(self, worker: str, now: int) -> Generation | None:
        """The generation of this id, None when it is not ours or no longer good."""
        if worker == self.current.worker:
            return self.current if now <= self.current.keyset.not_after else None
        old, until = self._retiring.get(worker, (None, 0))
        return old if now <= until else None
