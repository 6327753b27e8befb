"""Served to clients and workers by name and by content, without a key, vouched for by nobody."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bombyx import canonical
from bombyx.attestation.collateral import Collateral, collateral_digest
from gateway.collateral import endpoints
from tests.gateway.collateral.vendors import DCAP, INTEL_END, MILAN, NOW, TDX, vendors
from tests.network.harness import MODEL, network
from tests.network.requests import directory, error_of, http
from worker.attest.collateral_source import GatewayCollateral

PATH = "/v1/confidential/collateral/"


async def get(url: str, name: str) -> httpx2.Response:
    async with http() as client:
        return await client.get(url + PATH + name)


def at_the_recorded_time(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's clock for collateral: when Intel's recorded documents were good."""
    monkeypatch.setattr(net.context.collateral, "_unix", lambda: NOW)
    monkeypatch.setattr(endpoints, "unix_seconds", lambda: NOW)


async def test_a_document_is_found_by_name_and_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with vendors() as around, network(tmp_path, workers=0, **settings(around)) as net:
        at_the_recorded_time(net, monkeypatch)
        answer = await get(net.url, TDX)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert canonical.decode(answer.content, Collateral) == Collateral(**DCAP)
        digest = hashlib.sha256(answer.content).hexdigest()
        assert answer.headers["etag"] == f'"{digest}"'
        assert answer.headers["cache-control"] == "public, max-age=3600"
        assert (await get(net.url, f"sha256/{digest}")).content == answer.content
        monkeypatch.setattr(endpoints, "unix_seconds", lambda: INTEL_END - 60)
        late = await get(net.url, TDX)
        assert late.headers["cache-control"] == "public, max-age=60"


async def test_a_worker_finds_its_vendors_words_at_its_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with vendors() as around, network(tmp_path, workers=0, **settings(around)) as net:
        at_the_recorded_time(net, monkeypatch)
        assert await GatewayCollateral([net.url]).find(TDX) == Collateral(**DCAP)
        await GatewayCollateral([net.url]).find(MILAN)


async def test_what_a_listed_worker_brought_is_found_by_content(tmp_path: Path) -> None:
    async with network(tmp_path, workers=1) as net:
        listed = await directory(net, MODEL)
        (named,) = listed.collateral
        answer = await get(net.url, f"sha256/{named}")
        assert collateral_digest(canonical.decode(answer.content, Collateral)) == named


@pytest.mark.parametrize(
    "name",
    [
        "sha256/" + "ab" * 32,
        "sha256/" + "AB" * 32,
        "sha256/x",
        "",
        "tdx/000000000000/platform",
        "tdx/zz/platform",
        "nvidia/rim/..%2f..%2fsecret",
    ],
)
async def test_what_nobody_has_is_not_found(tmp_path: Path, name: str) -> None:
    async with vendors() as around, network(tmp_path, workers=0, **settings(around)) as net:
        assert error_of(await get(net.url, name)) == (404, "not_found")


async def test_a_vendor_that_fails_is_told_in_the_envelope(tmp_path: Path) -> None:
    async with network(tmp_path, workers=0, amd_kds_url="http://127.0.0.1:1") as net:
        assert error_of(await get(net.url, MILAN)) == (502, "upstream_failed")


def settings(around: Any) -> dict[str, Any]:
    names = ("intel_pcs_url", "intel_root_crl_url", "amd_kds_url")
    return {name: getattr(around.settings(), name) for name in names}
