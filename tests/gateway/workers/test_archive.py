"""Decisions in the database: each once by content, with all documents, for as long as it exists."""

import dataclasses
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from bombyx import canonical
from bombyx.attestation.bundle import Bundle, Case, decide, read_bundle, recheck, write_bundle
from bombyx.attestation.keyset import keyset_digest
from bombyx.attestation.policy import preset
from gateway.database import create_engine
from gateway.models.workers import archived, decision
from gateway.workers.archive import Archive
from tests.bombyx.attestation import amd
from tests.bombyx.attestation.test_machines import ROOTS, Worker
from tests.bombyx.attestation.world import HONEST, NOW, POLICY

CASE = Case(HONEST.keyset, HONEST.evidence, HONEST.collateral, {}, POLICY, NOW)
WORKER = keyset_digest(HONEST.keyset)


@pytest.fixture
async def archive(database_url: str) -> AsyncIterator[Archive]:
    engine = create_engine(database_url)
    yield Archive(engine)
    await engine.dispose()


async def keep(archive: Archive, case: Case) -> Bundle:
    _, bundle = decide(case, ROOTS)
    await archive.keep_worker(case.keyset, case.evidence, case.collateral, now_ms=1000 * case.at)
    await archive.keep_decision(bundle)
    return bundle


async def counts(archive: Archive) -> list[int]:
    async with archive.engine.connect() as connection:
        return [
            (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (decision, archived)
        ]


@pytest.mark.spec("17.12-b")
async def test_a_decision_is_found_by_its_worker_and_reproduced(archive: Archive) -> None:
    kept = await keep(archive, CASE)
    found = await archive.bundle(WORKER)
    assert found == kept
    assert found is not None
    assert recheck(read_bundle(write_bundle(found))).refusal is None
    assert await archive.bundle("ab" * 32) is None


@pytest.mark.spec("17.12-b")
async def test_the_same_documents_are_stored_once_however_often_a_worker_comes(
    archive: Archive,
) -> None:
    first = await keep(archive, CASE)
    before = await counts(archive)
    for later in (0, 60, 3000):
        await keep(archive, dataclasses.replace(CASE, at=NOW + later))
    assert await counts(archive) == before == [1, 2]
    assert await archive.bundle(WORKER) == first


@pytest.mark.spec("17.12-b")
async def test_of_many_decisions_that_of_a_time_is_found(archive: Archive) -> None:
    first = await keep(archive, CASE)
    strict = dataclasses.replace(CASE, policy=preset("development"), at=NOW + 100)
    second = await keep(archive, strict)
    assert await archive.bundle(WORKER) == second
    assert await archive.bundle(WORKER, at=NOW + 99) == first
    assert await archive.bundle(WORKER, at=NOW - 1) is None
    assert await counts(archive) == [2, 3]


@pytest.mark.spec("17.12-b")
async def test_what_a_vendor_said_outlives_the_vendors_own_shelf(archive: Archive) -> None:
    worker = Worker("sev-snp")
    keyset, evidence, _ = worker.given()
    list_ = canonical.encode(amd.authority(amd.crl("genoa", []))).decode()
    case = Case(keyset, evidence, None, {"sev-snp/genoa/vcek": list_}, worker.policy(), NOW)
    kept = await keep(archive, case)
    found = await archive.bundle(keyset_digest(keyset))
    assert found == kept
    assert found is not None
    assert found.vendor == {"sev-snp/genoa/vcek": list_}
    assert recheck(found, ROOTS).refusal is None
