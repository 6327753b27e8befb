"""What vendors say is laid beside the directory's entries, as far as it is at hand."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from aiohttp import web

from bombyx.attestation.directory import Directory, Entry
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.pem import to_pem
from bombyx.client.directory import parse_directory, vendor_of
from gateway.collateral import beside
from gateway.collateral.beside import Beside
from tests.bombyx.attestation.world import HONEST, POLICY
from tests.factories import signed_offer, worker
from tests.gateway.collateral.conftest import Desk
from tests.gateway.collateral.vendors import MILAN, REPORT, VCEK

MACHINE = Evidence(
    platform="sev-snp", quote=base64.b64encode(REPORT + to_pem(VCEK)).decode(), gpus=[]
)


def entry(name: str, evidence: Evidence) -> Entry:
    of = worker(name)
    return Entry(keyset=of.keyset, evidence=evidence, offers=[signed_offer(of)])


def directory(*entries: Entry) -> Directory:
    return Directory(
        gateway="ab" * 32, fee_bps=0, default_max_output_tokens=1, deadline_s=1, now=1,
        workers=[*entries], collateral={},
    )  # fmt: skip


@pytest.mark.spec("17.10-d")
async def test_an_snp_worker_is_listed_with_amds_list(lite: Desk) -> None:
    given = directory(entry("a", MACHINE), entry("b", MACHINE), entry("c", HONEST.evidence))
    laid = Beside(lite.service)
    for _ in range(2):
        found = await laid.completed(given)
        data = msgspec.json.encode(found)
        again = parse_directory(data, POLICY)
        assert again == found
        one, two, simulated = again.workers
        assert list(vendor_of(again, one)) == list(vendor_of(again, two)) == [MILAN]
        assert vendor_of(again, one)[MILAN] == (await lite.service.find(MILAN)).document.decode()
        assert vendor_of(again, simulated) == {}
        assert data.count(b'"crl\\"') == 1
    assert lite.vendors.times("/vcek/v1/Milan/crl") == 1


@pytest.mark.spec("17.10-d")
async def test_a_directory_that_wants_nothing_is_as_it_was(lite: Desk) -> None:
    given = directory(entry("a", HONEST.evidence))
    assert await Beside(lite.service).completed(given) is given
    assert b"vendor" not in msgspec.json.encode(given)
    unreadable = directory(entry("a", msgspec.structs.replace(MACHINE, quote="AAAA")))
    assert await Beside(lite.service).completed(unreadable) is unreadable
    assert vendor_of(given, given.workers[0]) == {}


@pytest.mark.spec("17.10-d")
async def test_a_vendor_that_fails_or_is_slow_keeps_no_directory_waiting(
    lite: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_request: web.Request) -> web.Response:
        return web.Response(status=500)

    async def sleeps(_request: web.Request) -> Any:
        await asyncio.sleep(0.2)
        return web.Response(status=500)

    given = directory(entry("a", MACHINE))
    lite.vendors.faults["crl"] = fails
    assert await Beside(lite.service).completed(given) is given
    monkeypatch.setattr(beside, "PATIENCE_SECONDS", 0.01)
    lite.vendors.faults["crl"] = sleeps
    assert await Beside(lite.another()).completed(given) is given


async def test_names_are_remembered_for_so_many_workers(
    lite: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "MAX_REMEMBERED", 1)
    laid = Beside(lite.service)
    for name in ("a", "b", "a"):
        found = await laid.completed(directory(entry(name, MACHINE)))
        assert found.workers[0].vendor == [MILAN]
    assert len(laid._names) == 1
