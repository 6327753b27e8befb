"""From recorded hardware to what is shown: what the real verifiers accept, and nothing else."""

import base64
import json
import struct
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bombyx.attestation.checklist import judge
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.platform_rules import SnpPolicy, TdxPolicy
from bombyx.attestation.snp.report import REPORT_BYTES
from bombyx.attestation.snp.verify import SnpEvidence, verify_snp
from bombyx.attestation.tdx.verify import TdxEvidence, verify_tdx
from bombyx.attestation.vendor import AmdEndorsement, VendorDocument
from bombyx.errors import AttestationError
from tests.worker.attest.fake_tsm import FakeTsm, running
from tests.worker.attest.fixtures import tee
from worker.attest.amd_certificates import KINDS, read_table
from worker.attest.confidential import TsmQuoter
from worker.attest.real_quotes import read_snp, snp_quote, tdx_quote

TDX_QUOTE = tee("tdx/cocoon_quote_v4.dat")
TDX_NOW = 1_772_323_200
COLLATERAL = Collateral(**json.loads(tee("tdx/tdx_quote_outdated_collateral.json")))
MILAN = tee("snp/milan_report.bin")
VCEK = tee("snp/milan_vcek.der")
SNP_NOW = 1_780_272_000
UNKNOWN = uuid.UUID(int=7)


def milan_v3() -> bytes:
    """A report that names its processor, as a dstack machine recorded it."""
    blob = bytes.fromhex(json.loads(tee("dstack/sev-snp-attestation.json"))["attestation"])
    return blob[4 : 4 + REPORT_BYTES]


@dataclass
class Source:
    """Collateral by name, and what was asked for."""

    documents: dict[str, VendorDocument] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def find(self, name: str) -> VendorDocument:
        self.asked.append(name)
        if name not in self.documents:
            raise AttestationError("nobody has it")
        return self.documents[name]


def intel() -> Source:
    return Source({"tdx/90c06f000000/platform": COLLATERAL})


def table(entries: dict[str, bytes], *, end: bool = True) -> bytes:
    """A host's table; the certificates stand behind it in order."""
    guids = {kind: guid for guid, kind in KINDS.items()}
    at = 24 * (len(entries) + end)
    head, tail = b"", b""
    for kind, der in entries.items():
        head += struct.pack("<16sII", guids.get(kind, UNKNOWN.bytes), at + len(tail), len(der))
        tail += der
    return head + bytes(24 * end) + tail


def tdx_report_data() -> bytes:
    return TDX_QUOTE[568:632]


async def test_a_quote_of_real_hardware_over_configfs_verifies_under_intels_root(
    tmp_path: Path,
) -> None:
    padded = TDX_QUOTE.ljust(8000, b"\0")
    with running(FakeTsm(tmp_path, "tdx_guest", lambda _: (padded, b""))):
        quoter = TsmQuoter("tdx_guest", root=tmp_path, source=intel())
        quote = await quoter.quote(tdx_report_data())
        assert quoter.platform == "tdx"
        assert set(await quoter.measured()) == {"mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3"}
    evidence = TdxEvidence(quote.raw, quote.collateral)
    found = judge(
        lambda list_: verify_tdx(
            evidence,
            policy=TdxPolicy(),
            now=TDX_NOW,
            report_data=tdx_report_data(),
            checklist=list_,
        )
    )
    assert found.refusal is None
    assert found.claims["tcb_status"] == "UpToDate"


async def test_a_quote_over_other_report_data_is_not_shown() -> None:
    with pytest.raises(AttestationError, match="other report data"):
        await tdx_quote(TDX_QUOTE, bytes(64), intel())
    with pytest.raises(AttestationError, match="other report data"):
        await snp_quote(MILAN, b"", bytes(64), Source())


async def test_what_is_no_quote_of_tdx_is_told() -> None:
    with pytest.raises(AttestationError, match="enclave"):
        await tdx_quote(tee("tdx/sgx_quote"), bytes(64), intel())
    with pytest.raises(AttestationError, match="the machine's quote"):
        await tdx_quote(TDX_QUOTE[:700], bytes(64), intel())


@pytest.mark.parametrize("shown", [("vcek",), ("vcek", "ask", "ark"), ("other", "vcek")])
async def test_a_report_shows_the_certificate_of_its_key(
    tmp_path: Path, shown: tuple[str, ...]
) -> None:
    blob = table({kind: VCEK if kind == "vcek" else b"x" for kind in shown})
    with running(FakeTsm(tmp_path, "sev_guest", lambda _: (MILAN, blob))):
        quoter = TsmQuoter("sev_guest", root=tmp_path, source=Source())
        quote = await quoter.quote(read_snp(MILAN).report_data)
        assert set(await quoter.measured()) == {"measurement", "chip_id"}
    certificates = tuple(split_certificates(quote.raw[REPORT_BYTES:]))
    assert (quoter.platform, quote.collateral, certificates) == ("sev-snp", None, (VCEK,))
    evidence = SnpEvidence(quote.raw[:REPORT_BYTES], certificates)
    policy = SnpPolicy(generations=("milan",))
    found = judge(
        lambda list_: verify_snp(
            evidence, policy=policy, now=SNP_NOW, report_data=None, checklist=list_
        )
    )
    assert found.refusal is None


async def test_a_certificate_that_the_host_does_not_show_is_asked_for_by_chip_and_level() -> None:
    report = milan_v3()
    parsed = read_snp(report)
    name = f"sev-snp/milan/{parsed.chip_id.hex()}/{parsed.reported_tcb.hex()}"
    source = Source({name: AmdEndorsement(certificate=base64.b64encode(VCEK).decode())})
    quote = await snp_quote(report, b"", parsed.report_data, source)
    assert split_certificates(quote.raw[REPORT_BYTES:]) == [VCEK]
    assert source.asked == [name]


async def test_a_report_that_does_not_say_whose_it_is_cannot_be_asked_about() -> None:
    with pytest.raises(AttestationError, match="does not say whose it is"):
        await snp_quote(MILAN, b"", read_snp(MILAN).report_data, Source())
    masked = bytearray(milan_v3())
    masked[0x48] |= 2
    with pytest.raises(AttestationError, match="does not say whose it is"):
        await snp_quote(bytes(masked), b"", read_snp(bytes(masked)).report_data, Source())


async def test_a_clouds_certificate_comes_from_its_host_alone() -> None:
    leased = bytearray(milan_v3())
    leased[0x48] |= 1 << 2
    with pytest.raises(AttestationError, match="VLEK"):
        await snp_quote(bytes(leased), b"", read_snp(bytes(leased)).report_data, Source())
    blob = table({"vlek": VCEK})
    quote = await snp_quote(bytes(leased), blob, read_snp(bytes(leased)).report_data, Source())
    assert split_certificates(quote.raw[REPORT_BYTES:]) == [VCEK]


async def test_a_report_that_breaks_off_is_told() -> None:
    with pytest.raises(AttestationError, match="the machine's report"):
        await snp_quote(MILAN[:-1], b"", bytes(64), Source())


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (table({"vcek": VCEK}, end=False)[: 24 + 10], "points behind"),
        (table({"vcek": b""}, end=False), "no end"),
        (table({"vcek": b"a", "other": b"b"})[:30], "points behind"),
        (b"\1" * 20, "breaks off"),
        (table({"vcek": VCEK})[:24] * 2 + bytes(24) + VCEK * 2, "twice"),
    ],
    ids=["beyond", "endless", "cut", "short", "twice"],
)
def test_a_table_that_is_none_is_told(blob: bytes, why: str) -> None:
    with pytest.raises(AttestationError, match=why):
        read_table(blob)


def test_a_host_that_shows_nothing_shows_nothing() -> None:
    assert read_table(b"") == read_table(bytes(24)) == read_table(bytes(4096)) == {}
    assert read_table(table({"other": b"x", "ask": b""})) == {}


async def test_the_driver_may_not_change_while_a_worker_runs(tmp_path: Path) -> None:
    with running(FakeTsm(tmp_path, "sev_guest", lambda _: (MILAN, b""))):
        quoter = TsmQuoter("tdx_guest", root=tmp_path, source=intel())
        with pytest.raises(AttestationError, match="another driver"):
            await quoter.quote(bytes(64))
