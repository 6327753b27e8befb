"""Vendors that fail, lie or lead elsewhere: told, and nothing of it kept (SPEC 17.10)."""

import pytest
from pydantic import ValidationError

from bombyx.errors import NotFound, RemoteError
from gateway.settings import GatewaySettings
from tests.gateway.collateral import vendors as around
from tests.gateway.collateral.conftest import Desk
from tests.gateway.collateral.vendors import (
    DCAP,
    MILAN,
    MILAN_CHIP,
    NAMES,
    NOW,
    OCSP,
    RIM,
    SERIAL,
    TDX,
    body,
    leads_to,
    ocsp_answer,
    revocation_list,
    silence,
    status,
)


@pytest.mark.spec("17.10-b")
@pytest.mark.parametrize(
    ("part", "fault", "why"),
    [
        ("", silence, "cannot be asked: TimeoutError"),
        ("", status(429), "status 429"),
        ("", status(500), "status 500"),
        ("", leads_to("http://127.0.0.1:1/"), "leads elsewhere"),
        ("", leads_to("https://127.0.0.1/"), "leads elsewhere"),
        ("", leads_to("//example.org/"), "leads elsewhere"),
        ("", leads_to("ftp://x/"), "leads elsewhere"),
        ("", leads_to("/elsewhere"), "leads in circles"),
        ("/tcb?", body(b"x" * 300_000), "more than"),
        ("/tcb?", body(b"<html>"), "cannot be read"),
        ("/tcb?", body(b'{"tcbInfo":{"id":"TDX"},"signature":""}'), "cannot be read"),
        (
            "/tcb?",
            body(b'{"tcbInfo":{"id":"TDX","fmspc":"000000000000"},"signature":""}'),
            "another family",
        ),
        ("/tcb?", body(f'{{"tcbInfo":{DCAP["tcb_info"]},"signature":"00"}}'.encode()), "no chain"),
        ("/pckcrl", body(b"not a list"), "no chain"),
        ("RootCA", body(b"not a list"), "a revocation list that is none"),
        ("RootCA", body(b"0\x03\x02\x01\x00"), "cannot be read|error parsing"),
    ],
)
async def test_a_vendor_that_fails_is_told_and_nothing_is_kept(
    lite: Desk, part: str, fault: around.Answer, why: str
) -> None:
    lite.vendors.faults[part] = fault
    service = lite.another(collateral_fetch_s=1) if fault is silence else lite.service
    with pytest.raises(RemoteError, match=why):
        await service.find(TDX)
    assert await lite.shelf.by_name(TDX) is None


async def test_a_vendor_that_is_down_is_told(lite: Desk) -> None:
    service = lite.another(amd_kds_url="http://127.0.0.1:1")
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1 cannot be asked: ConnectError"):
        await service.find(MILAN)
    await service.close()


@pytest.mark.parametrize(
    ("name", "part", "fault"),
    [
        (MILAN_CHIP, "Milan", body(b"<html>")),
        (MILAN_CHIP, "Milan", body((around._FOLDER / "snp/google_milan_vcek.der").read_bytes())),
        (MILAN, "cert_chain", body(b"\xff")),
        (MILAN, "cert_chain", body(b"no chain")),
        (MILAN, "Milan/crl", body(b"")),
        (MILAN, "Milan/crl", body(b"no list")),
        (RIM, "rim", body(b"{}")),
        (RIM, "rim", body(b'{"rim":"?"}')),
        (RIM, "rim", body(b'{"rim":"bm8geG1s"}')),
        (OCSP, "ocsp", body(b"no answer")),
        (OCSP, "ocsp", body(ocsp_answer(7))),
        (OCSP, "ocsp", leads_to("/ocsp2")),
    ],
)
async def test_what_is_not_what_was_asked_for_is_not_kept(
    lite: Desk, name: str, part: str, fault: around.Answer
) -> None:
    lite.vendors.faults[part] = fault
    with pytest.raises(RemoteError):
        await lite.service.find(name)
    assert await lite.shelf.by_name(name) is None


@pytest.mark.parametrize(
    ("name", "part", "fault"),
    [
        (MILAN, "Milan/crl", body(revocation_list(NOW))),
        (OCSP, "ocsp", body(ocsp_answer(int(SERIAL, 16), NOW))),
    ],
)
async def test_what_has_ended_at_the_vendor_is_not_kept(
    lite: Desk, name: str, part: str, fault: around.Answer
) -> None:
    lite.vendors.faults[part] = fault
    with pytest.raises(RemoteError, match="has ended already"):
        await lite.service.find(name)
    assert await lite.shelf.by_name(name) is None


async def test_a_redirect_on_the_same_host_is_followed(lite: Desk) -> None:
    lite.vendors.faults["/vcek/v1/Milan/cert_chain"] = leads_to("/moved")
    lite.vendors.faults["/moved"] = body(around.CHAIN)
    assert (await lite.service.find(MILAN)).name == MILAN


@pytest.mark.parametrize("name", NAMES)
async def test_a_vendor_that_the_settings_leave_out_is_not_asked(lite: Desk, name: str) -> None:
    nobody = dict.fromkeys(
        ("intel_pcs_url", "amd_kds_url", "nvidia_rim_url", "nvidia_ocsp_url"), ""
    )
    service = lite.another(**nobody)
    with pytest.raises(NotFound, match="does not ask"):
        await service.find(name)
    assert lite.vendors.asked == []
    await service.close()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tdx/90C06F000000/platform",
        "tdx/90c06f000000/platform/../x",
        "sev-snp/rome/vcek",
        "sev-snp/milan/vcek?x=1",
        "nvidia/rim/../../secret",
        "nvidia/rim/a b",
        "https://example.org/",
    ],
)
async def test_only_names_of_platforms_are_asked_about(lite: Desk, name: str) -> None:
    with pytest.raises(ValueError, match="names no collateral"):
        await lite.service.find(name)
    assert lite.vendors.asked == []


@pytest.mark.parametrize(
    "url", ["ftp://x", "//x", "http://", "http://user:secret@x", "http://x/?q", "http://x#f", "x"]
)
def test_addresses_of_vendors_are_plain(url: str) -> None:
    for name in ("intel_pcs_url", "amd_kds_url", "nvidia_rim_url", "nvidia_ocsp_url"):
        with pytest.raises(ValidationError):
            GatewaySettings.model_validate({name: url})
