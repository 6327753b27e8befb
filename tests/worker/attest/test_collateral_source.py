"""A worker's way to its vendor's words: gateways in their order, or a file; nothing is believed."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from bombyx import canonical, collateral_file
from bombyx.attestation.vendor import (
    MAX_DOCUMENT_BYTES,
    AmdEndorsement,
    VendorFile,
    vendor_item,
)
from bombyx.errors import AttestationError, SetupError
from worker.attest.collateral_source import CollateralFile, GatewayCollateral, find_endorsement

NAME = f"sev-snp/genoa/{'ab' * 64}/{'01' * 8}"
DOCUMENT = AmdEndorsement(certificate="AAAA")
Answer = Callable[[web.Request], web.StreamResponse]


@contextlib.asynccontextmanager
async def gateway(answer: Answer) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def honest(request: web.Request) -> web.StreamResponse:
    assert request.path == f"/v1/confidential/collateral/{NAME}"
    return web.Response(body=canonical.encode(DOCUMENT))


async def test_a_gateway_is_asked_by_name() -> None:
    async with gateway(honest) as url:
        assert await find_endorsement(GatewayCollateral([url]), NAME) == DOCUMENT


async def test_a_link_url_names_the_same_gateway() -> None:
    async with gateway(honest) as url:
        link = url.replace("http", "ws") + "/v1/workers/link/3"
        assert await GatewayCollateral([link]).find(NAME) == DOCUMENT


async def test_the_next_gateway_is_asked_when_one_fails() -> None:
    async with gateway(honest) as url:
        source = GatewayCollateral(["http://127.0.0.1:1", url])
        assert await source.find(NAME) == DOCUMENT


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda _: web.Response(status=503), "status 503"),
        (lambda _: web.Response(status=302, headers={"location": "/x"}), "status 302"),
        (lambda _: web.Response(body=b'{"certificate": "AAAA"}'), "something else"),
        (lambda _: web.Response(body=b'{"rim":"x"}'), "something else"),
        (lambda _: web.Response(body=b" " * (MAX_DOCUMENT_BYTES + 1)), "more than any"),
    ],
)
async def test_a_gateway_that_answers_otherwise_is_told(answer: Answer, why: str) -> None:
    async with gateway(answer) as url:
        with pytest.raises(AttestationError, match=why):
            await GatewayCollateral([url]).find(NAME)


async def test_without_any_gateway_there_is_nobody_to_ask() -> None:
    with pytest.raises(AttestationError, match="no gateway is named"):
        await GatewayCollateral([]).find(NAME)


def written(folder: Path, *names: str) -> Path:
    data = canonical.encode(DOCUMENT)
    items = [vendor_item(name, data, fetched_at=1, next_update=2) for name in names]
    path = folder / "collateral.json"
    path.write_bytes(canonical.encode(VendorFile(v="bombyx-collateral/1", items=items)))
    return path


async def test_a_file_serves_who_is_offline(tmp_path: Path) -> None:
    source = CollateralFile(written(tmp_path, NAME))
    assert await source.find(NAME) == DOCUMENT
    with pytest.raises(AttestationError, match="holds no collateral of tdx"):
        await source.find("tdx/90c06f000000/platform")


def test_a_file_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        CollateralFile(tmp_path / "absent")
    with pytest.raises(SetupError, match="no file of collateral"):
        CollateralFile(written(tmp_path, NAME, NAME))
    monkeypatch.setattr(collateral_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(SetupError, match="is longer"):
        CollateralFile(written(tmp_path, NAME))
