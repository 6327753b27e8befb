"""Fetched once, kept, refreshed before its end, and never given out after it (SPEC 17.10)."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, date, datetime

import pytest
from cryptography.hazmat.primitives import hashes

from bombyx import canonical
from bombyx.attestation.checklist import judge
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.nvidia.revocation import STATUS_SECONDS
from bombyx.attestation.nvidia.verify import NvidiaWord, verify_nvidia
from bombyx.attestation.platform_rules import NvidiaPolicy, SnpPolicy, TdxPolicy
from bombyx.attestation.snp.verify import SnpEvidence, verify_snp
from bombyx.attestation.tdx.verify import TdxEvidence, verify_tdx
from bombyx.attestation.vendor import AmdAuthority, AmdEndorsement, NvidiaStatus, read_document
from bombyx.attestation.wanted import wanted_of_device
from bombyx.errors import NotFound, Overloaded, RemoteError
from gateway.collateral import service as module
from gateway.collateral.lives import REFERENCE_SECONDS
from tests.bombyx.attestation import gpus
from tests.bombyx.attestation.ocsp_answers import Said
from tests.gateway.collateral import vendors as around
from tests.gateway.collateral.conftest import Desk
from tests.gateway.collateral.vendors import (
    DAY,
    DCAP,
    INTEL_END,
    MILAN,
    MILAN_CHIP,
    NAMES,
    NOW,
    OCSP,
    REPORT,
    RIM,
    RIM_XML,
    SERIAL,
    TDX,
    VCEK,
    body,
    ocsp_answer,
    revocation_list,
    status,
)

QUOTE = (around._FOLDER / "tdx/cocoon_quote_v4.dat").read_bytes()


async def test_what_intel_publishes_verifies_a_quote_of_real_hardware(desk: Desk) -> None:
    kept = await desk.service.find(TDX)
    document = canonical.decode(kept.document, Collateral)
    assert document == Collateral(**DCAP)
    assert kept.digest == collateral_digest(document)
    assert kept.next_update == INTEL_END
    evidence = TdxEvidence(QUOTE, document)
    found = judge(
        lambda list_: verify_tdx(
            evidence, policy=TdxPolicy(), now=NOW, report_data=None, checklist=list_
        )
    )
    assert found.refusal is None


async def test_what_amd_publishes_verifies_a_report_of_real_hardware(lite: Desk) -> None:
    kept = await lite.service.find(MILAN_CHIP)
    certificate = base64.b64decode(canonical.decode(kept.document, AmdEndorsement).certificate)
    assert certificate == VCEK
    assert datetime.fromtimestamp(kept.next_update, tz=UTC).date() == date(2030, 1, 24)
    evidence = SnpEvidence(REPORT, (certificate,))
    policy = SnpPolicy(generations=("milan",))
    found = judge(
        lambda list_: verify_snp(
            evidence, policy=policy, now=NOW, report_data=None, checklist=list_
        )
    )
    assert found.refusal is None
    (asked,) = lite.vendors.asked
    assert asked.endswith("?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115")


@pytest.mark.parametrize("name", NAMES)
async def test_a_document_is_its_names_kind_and_its_digests_content(desk: Desk, name: str) -> None:
    kept = await desk.service.find(name)
    read_document(name, kept.document)
    assert kept.digest == hashlib.sha256(kept.document).hexdigest()
    assert await desk.service.find_digest(kept.digest) == kept
    assert NOW < kept.refresh_at < kept.next_update


async def test_measurements_are_kept_verbatim_for_a_week(lite: Desk) -> None:
    kept = await lite.service.find(RIM)
    assert json.loads(kept.document)["rim"].encode() == RIM_XML
    assert kept.next_update == NOW + REFERENCE_SECONDS


async def test_a_status_is_asked_about_the_certificate_that_is_named(lite: Desk) -> None:
    kept = await lite.service.find(OCSP)
    answer = base64.b64decode(json.loads(kept.document)["response"])
    assert answer.startswith(b"\x30")
    assert kept.next_update == NOW + DAY


async def test_a_status_that_was_fetched_shows_that_a_device_is_not_revoked(lite: Desk) -> None:
    lite.clock.now = gpus.NOW
    evidence = gpus.Gpu().evidence()
    (name,) = [one for one in wanted_of_device(evidence.report, evidence.chain) if "/ocsp/" in one]
    lite.vendors.faults["/ocsp"] = body(Said().der())
    document = read_document(name, (await lite.service.find(name)).document)
    assert isinstance(document, NvidiaStatus)
    word = NvidiaWord(answers=[base64.b64decode(document.response)])
    found = judge(
        lambda list_: verify_nvidia(
            [evidence],
            policy=NvidiaPolicy(require_revocation=True),
            now=gpus.NOW,
            checklist=list_,
            word=word,
            root=gpus.ROOT,
        )
    )
    assert found.refusal is None
    lite.vendors.faults["/ocsp"] = body(Said(digest=hashes.SHA1()).der())
    other = lite.another()
    with pytest.raises(RemoteError, match="another certificate"):
        await other.find(name.replace("/05", "/06"))
    await other.close()


async def test_a_status_without_an_end_is_good_for_an_hour(lite: Desk) -> None:
    lite.vendors.faults["/ocsp"] = body(ocsp_answer(int(SERIAL, 16), None, since=NOW - 60))
    assert (await lite.service.find(OCSP)).next_update == NOW - 60 + STATUS_SECONDS


async def test_many_who_want_one_name_ask_the_vendor_once(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.service.find(TDX) for _ in range(20)))
    assert len(set(found)) == 1
    assert desk.vendors.times("/tcb?") == 1
    await desk.service.find(TDX)
    assert desk.vendors.times("/tcb?") == 1


async def test_who_hangs_up_takes_nothing_from_the_others(lite: Desk) -> None:
    first = asyncio.create_task(lite.service.find(MILAN))
    second = asyncio.create_task(lite.service.find(MILAN))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).name == MILAN


async def test_another_process_finds_it_in_the_database(desk: Desk) -> None:
    kept = await desk.service.find(TDX)
    other = desk.another()
    assert await other.find(TDX) == kept
    assert desk.vendors.times("/tcb?") == 1
    await other.close()


async def test_a_pccs_stands_in_for_intel_with_its_own_copy_of_the_roots_list(lite: Desk) -> None:
    other = lite.another(intel_root_crl_url="", intel_pcs_url=lite.vendors.url + "/")
    document = canonical.decode((await other.find(TDX)).document, Collateral)
    assert document.root_ca_crl == DCAP["root_ca_crl"]
    assert lite.vendors.times("rootcacrl") == 1
    await other.close()


@pytest.mark.spec("17.10-a")
@pytest.mark.parametrize("name", NAMES)
async def test_nothing_is_served_at_its_end(desk: Desk, name: str) -> None:
    kept = await desk.service.find(name)
    desk.vendors.faults[""] = status(503)
    desk.clock.now = kept.next_update - 1
    assert (await desk.service.find(name)).digest == kept.digest
    desk.clock.now = kept.next_update
    for service in (desk.service, desk.another()):
        with pytest.raises(RemoteError, match="status 503"):
            await service.find(name)
        assert await service.find_digest(kept.digest) is None


async def test_a_document_is_refreshed_before_its_end(desk: Desk) -> None:
    desk.vendors.faults["Milan/crl"] = body(revocation_list(NOW + 2 * DAY))
    old = await desk.service.find(MILAN)
    assert old.next_update == NOW + 2 * DAY
    assert NOW + DAY <= old.refresh_at <= NOW + DAY + DAY // 2
    desk.clock.now = old.refresh_at - 1
    await desk.service.refresh()
    assert desk.vendors.times("Milan/crl") == 1
    desk.clock.now = old.refresh_at
    desk.vendors.faults.clear()
    await desk.service.refresh()
    new = await desk.service.find(MILAN)
    assert (new.next_update, new.fetched_at) == (NOW + 30 * DAY, desk.clock.now)
    assert new.digest != old.digest
    await desk.service.refresh()
    assert desk.vendors.times("Milan/crl") == 2


async def test_each_document_comes_due_at_a_moment_of_its_own(lite: Desk) -> None:
    def due(draw: float) -> int:
        lite.service._draw = lambda: draw
        document = canonical.decode(revoked.document, read_kind)
        return lite.service._kept(MILAN, document, NOW).refresh_at - NOW

    revoked = await lite.service.find(MILAN)
    read_kind = type(read_document(MILAN, revoked.document))
    assert (due(0.0), due(1.0)) == (15 * DAY, int(22.5 * DAY))


async def test_two_processes_do_not_refresh_the_same_document(desk: Desk) -> None:
    desk.vendors.faults["Milan/crl"] = body(revocation_list(NOW + 2 * DAY))
    kept = await desk.service.find(MILAN)
    desk.clock.now = kept.refresh_at
    other = desk.another()
    await asyncio.gather(desk.service.refresh(), other.refresh())
    assert desk.vendors.times("Milan/crl") == 2
    await other.close()


async def test_a_refresh_that_fails_is_tried_again_while_the_old_document_serves(
    desk: Desk,
) -> None:
    kept = await desk.service.find(TDX)
    desk.vendors.faults[""] = status(500)
    desk.clock.now = kept.refresh_at
    await desk.service.refresh()
    assert await desk.service.find(TDX) == kept
    again = await desk.shelf.by_name(TDX)
    assert again is not None
    left = kept.next_update - kept.refresh_at
    assert again.refresh_at == kept.refresh_at + left // module.RETRY_SHARE
    desk.clock.now = again.refresh_at
    asked = len(desk.vendors.asked)
    await desk.service.refresh()
    assert len(desk.vendors.asked) > asked


async def test_what_nobody_asks_for_in_a_month_is_refreshed_no_more_and_then_forgotten(
    desk: Desk,
) -> None:
    kept = await desk.service.find(TDX)
    desk.clock.now = NOW + module.NEEDED_SECONDS + 1
    asked = len(desk.vendors.asked)
    await desk.service.refresh()
    assert len(desk.vendors.asked) == asked
    assert await desk.shelf.by_name(TDX) is None
    assert kept.next_update < desk.clock.now


async def test_that_somebody_asks_is_written_down_once_a_day(desk: Desk) -> None:
    await desk.service.find(MILAN)
    for hours, written in ((23, NOW), (25, NOW + 25 * 3600), (26, NOW + 25 * 3600)):
        desk.clock.now = NOW + hours * 3600
        await desk.service.find(MILAN)
        stored = await desk.shelf.by_name(MILAN)
        assert stored is not None
        assert stored.asked_at == written


async def test_a_vendors_no_is_remembered_for_ten_minutes(lite: Desk) -> None:
    name = TDX.replace("90c06f", "000000")
    for _ in range(3):
        with pytest.raises(NotFound, match="no such platform"):
            await lite.service.find(name)
    assert len(lite.vendors.asked) == 1
    lite.clock.now += module.UNKNOWN_SECONDS
    with pytest.raises(NotFound):
        await lite.service.find(name)
    assert len(lite.vendors.asked) == 2


async def test_a_vendors_failure_is_remembered_for_half_a_minute(lite: Desk) -> None:
    lite.vendors.faults["cert_chain"] = status(500)
    for _ in range(3):
        with pytest.raises(RemoteError):
            await lite.service.find(MILAN)
    assert len(lite.vendors.asked) == 1
    lite.vendors.faults.clear()
    lite.clock.now += module.SILENT_SECONDS
    assert (await lite.service.find(MILAN)).name == MILAN


async def test_strangers_cannot_make_the_gateway_press_a_vendor(
    lite: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BURST", 3)
    await lite.service.find(RIM)
    names = [f"tdx/{number:012x}/platform" for number in range(5)]
    for name in names[:2]:
        with pytest.raises(NotFound):
            await lite.service.find(name)
    with pytest.raises(Overloaded) as refused:
        await lite.service.find(names[2])
    assert refused.value.retry_after_ms == 2001
    assert (await lite.service.find(RIM)).name == RIM  # what is here is served all the same
    lite.clock.now += 2
    with pytest.raises(NotFound):
        await lite.service.find(names[2])
    assert lite.vendors.times("/tcb?") == 3


async def test_what_is_brought_is_taken_when_it_is_good_for_longer(desk: Desk) -> None:
    desk.vendors.faults["Milan/crl"] = body(revocation_list(NOW + 2 * DAY))
    old = await desk.service.find(MILAN)
    longer = AmdAuthority(
        chain=around.CHAIN.decode(), crl=base64.b64encode(revocation_list()).decode()
    )
    kept = await desk.service.take(MILAN, longer, fetched_at=NOW + 10**9)
    assert kept is not None
    assert (kept.next_update, kept.fetched_at) == (NOW + 30 * DAY, NOW)
    assert await desk.service.find(MILAN) == kept
    shorter = canonical.decode(old.document, AmdAuthority)
    assert await desk.service.take(MILAN, shorter, fetched_at=NOW) is None
    desk.clock.now = NOW + 30 * DAY
    assert await desk.service.take(MILAN, longer, fetched_at=NOW) is None


async def test_the_refresher_outlives_failures(lite: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    turns: list[int] = []

    async def broken() -> None:
        turns.append(1)
        raise RemoteError("down") if len(turns) % 2 else LookupError

    monkeypatch.setattr(lite.service, "refresh", broken)
    task = asyncio.create_task(lite.service.run())
    while len(turns) < 4:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
