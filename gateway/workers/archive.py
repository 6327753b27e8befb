"""What workers have shown, kept for late statements and for audits; never on the hot path."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from bombyx import canonical
from bombyx.attestation.bundle import Bundle, Decision, subject_of, text_digest
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.money.offer import Offer, SignedOffer, offer_hash
from gateway.models.workers import archived as archived_table
from gateway.models.workers import collateral as collateral_table
from gateway.models.workers import decision as decision_table
from gateway.models.workers import keyset as keyset_table
from gateway.models.workers import offer as offer_table


@dataclass(frozen=True, slots=True)
class Shown:
    """A worker's canonical documents, the digest of its collateral, and when it was here (ms)."""

    keyset: bytes
    evidence: bytes
    collateral: str
    first_seen: int
    last_seen: int


@dataclass(frozen=True, slots=True)
class Archive:
    """Keysets, evidence, collateral and offers, by content."""

    engine: AsyncEngine

    async def keep_worker(
        self, keyset: Keyset, evidence: Evidence, collateral: Collateral | None, *, now_ms: int
    ) -> None:
        """Store what a worker identified itself with."""
        named = collateral_digest(collateral) if collateral is not None else ""
        if collateral is not None:
            await self._put(
                collateral_table,
                {"digest": named, "document": canonical.encode(collateral)},
            )
        worker = keyset_digest(keyset)
        stored = await self._put(
            keyset_table,
            {
                "worker": worker,
                "document": canonical.encode(keyset),
                "evidence": canonical.encode(evidence),
                "collateral": named,
                "first_seen": now_ms,
                "last_seen": now_ms,
            },
        )
        if not stored:
            async with self.engine.begin() as connection:
                await connection.execute(
                    update(keyset_table)
                    .where(keyset_table.c.worker == worker)
                    .values(last_seen=now_ms)
                )

    async def keep_decision(self, bundle: Bundle) -> None:
        """Store why a worker of the archive was listed; the first decision of its kind is kept."""
        decision = bundle.decision
        subject = subject_of(decision)
        if await self._get(decision_table, "subject", subject) is not None:
            return
        policy = bundle.policy.encode()
        contents = {decision.evidence: canonical.encode(bundle.evidence)}
        contents[hashlib.sha256(policy).hexdigest()] = policy
        contents |= {text_digest(text): text.encode() for text in bundle.vendor.values()}
        for digest, document in contents.items():
            await self._put(archived_table, {"digest": digest, "document": document})
        # Last: whoever finds it finds all that it names.
        await self._put(
            decision_table,
            {
                "subject": subject,
                "worker": decision.worker,
                "at": decision.at,
                "policy": hashlib.sha256(policy).hexdigest(),
                "document": canonical.encode(decision),
            },
        )

    async def bundle(self, worker: str, *, at: int | None = None) -> Bundle | None:
        """The latest decision about a worker, or that by unix second `at`, with its documents."""
        columns = decision_table.c
        query = select(columns.document, columns.policy).where(columns.worker == worker)
        if at is not None:
            query = query.where(columns.at <= at)
        async with self.engine.connect() as connection:
            row = (await connection.execute(query.order_by(columns.at.desc()).limit(1))).first()
        if row is None:
            return None
        decision = canonical.decode(bytes(row[0]), Decision)
        contents = [row[1], decision.evidence, *(one.digest for one in decision.vendor)]
        policy, evidence, *vendor = [await self._archived(digest) for digest in contents]
        named = decision.collateral if isinstance(decision.collateral, str) else ""
        collateral = await self._get(collateral_table, "digest", named)
        return Bundle(
            v="bombyx-bundle/1",
            decision=decision,
            keyset=canonical.decode(await self._keyset(worker), Keyset),
            evidence=canonical.decode(evidence, Evidence),
            policy=policy.decode(),
            vendor={
                one.name: text.decode() for one, text in zip(decision.vendor, vendor, strict=True)
            },
            collateral=UNSET if collateral is None else canonical.decode(collateral, Collateral),
        )

    async def keep_offer(self, signed: SignedOffer) -> None:
        """Store a verified offer."""
        row = {
            "hash": offer_hash(signed.offer),
            "document": canonical.encode(signed.offer),
            "signature": signed.signature,
        }
        await self._put(offer_table, row)

    async def keyset(self, worker: str) -> Keyset | None:
        """A keyset seen before."""
        found = await self._get(keyset_table, "worker", worker)
        return canonical.decode(found, Keyset) if found is not None else None

    async def shown(self, worker: str) -> "Shown | None":
        """All that a worker identified itself with."""
        columns = keyset_table.c
        query = select(
            columns.document,
            columns.evidence,
            columns.collateral,
            columns.first_seen,
            columns.last_seen,
        ).where(columns.worker == worker)
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).first()
        return Shown(*row) if row is not None else None

    async def documents(self, worker: str) -> tuple[Keyset, Evidence, Collateral | None] | None:
        """The same, read."""
        shown = await self.shown(worker)
        if shown is None:
            return None
        raw = await self._get(collateral_table, "digest", shown.collateral)
        return (
            canonical.decode(shown.keyset, Keyset),
            canonical.decode(shown.evidence, Evidence),
            canonical.decode(raw, Collateral) if raw is not None else None,
        )

    async def signed_offer(self, named: str) -> SignedOffer | None:
        """An offer seen before, with its signature."""
        columns = offer_table.c
        query = select(columns.document, columns.signature).where(columns.hash == named)
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        return SignedOffer(offer=canonical.decode(bytes(row[0]), Offer), signature=row[1])

    async def offer(self, named: str) -> Offer | None:
        """An offer seen before."""
        found = await self._get(offer_table, "hash", named)
        return canonical.decode(found, Offer) if found is not None else None

    async def _archived(self, digest: str) -> bytes:
        return await self._get(archived_table, "digest", digest) or b""

    async def _keyset(self, worker: str) -> bytes:
        return await self._get(keyset_table, "worker", worker) or b""

    async def _put(self, table: Any, row: Mapping[str, object]) -> bool:
        """Insert by content; False when it was there."""
        try:
            async with self.engine.begin() as connection:
                await connection.execute(insert(table).values(**row))
        except IntegrityError:
            return False
        return True

    async def _get(self, table: Any, column: str, value: str) -> bytes | None:
        async with self.engine.connect() as connection:
            query = select(table.c.document).where(table.c[column] == value)
            found = (await connection.execute(query)).scalar_one_or_none()
        return bytes(found) if found is not None else None
