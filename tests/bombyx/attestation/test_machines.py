"""Workers on real platforms: quote, keyset, GPUs and images, each with one thing wrong."""

import base64
import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.binding import gpu_nonce, report_data
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.evidence import Evidence, GpuEvidence
from bombyx.attestation.machines import Shown, verify_machine
from bombyx.attestation.pem import to_pem
from bombyx.attestation.policy import parse_policy
from bombyx.attestation.roots import Roots
from bombyx.attestation.steps import MAY_BE_UNKNOWN, Result, StepName
from bombyx.attestation.verify import Examination, examine, verify_worker
from bombyx.attestation.vtpm.verify import qualifying_data
from bombyx.errors import EvidenceRefused, WorkerRefused
from tests.bombyx.attestation import amd, gpus
from tests.bombyx.attestation.tpm import KEY_ID, PCRS, Tpm
from tests.bombyx.attestation.world import COLLATERAL, IMAGE, KEYSET, NOW, PLATFORM, ROOT, body

ROOTS = Roots(ROOT.der, amd.OURS, gpus.ROOT)
DIGESTS = {
    name: canonical.digest(msgspec.structs.replace(KEYSET, platform=name))
    for name in ("tdx", "sev-snp", "vtpm")
}
ZERO = ["00" * 48]
TDX_RULES = {"mr_td": [IMAGE.hex()], "rtmr0": ZERO, "rtmr1": ZERO, "rtmr2": ZERO}
SNP_RULES = {"measurements": ["11" * 48]}
VTPM_RULES = {"keys": [KEY_ID], "pcrs": {"4": [PCRS[4].hex()]}}
RULES = {"tdx": TDX_RULES, "snp": SNP_RULES, "vtpm": VTPM_RULES}


@dataclass(frozen=True)
class Worker:
    """What one worker shows; the defaults are honest."""

    platform: str = "tdx"
    gpus: tuple[GpuEvidence, ...] = ()
    collateral: Collateral | None = None
    names: Any = ...
    quote: bytes | None = None
    rules: dict[str, Any] | None = None
    nvidia: dict[str, Any] | None = None

    @property
    def bound(self) -> bytes:
        return report_data(DIGESTS[self.platform], self.gpus)

    def _quote(self) -> bytes:
        if self.quote is not None:
            return self.quote
        if self.platform == "tdx":
            return PLATFORM.quote(replace(body(), report_data=self.bound))
        if self.platform == "vtpm":
            return Tpm(nonce=qualifying_data(self.bound)).evidence()
        report, certificate = amd.Machine(report_data=self.bound).shown()
        return report + to_pem(certificate)

    def evidence(self) -> Evidence:
        named = collateral_digest(COLLATERAL) if self.platform == "tdx" else msgspec.UNSET
        return Evidence(
            platform=self.platform,
            quote=base64.b64encode(self._quote()).decode(),
            gpus=list(self.gpus),
            collateral=named if self.names is ... else self.names,
        )

    def policy(self) -> Any:
        tables = {**RULES, **(self.rules or {})}
        if self.nvidia is not None:
            tables["nvidia"] = self.nvidia
        return parse_policy(
            {
                "version": 1,
                "network": "mainnet",
                "platforms": ["tdx", "sev-snp", "vtpm"],
                "models": {"smol": {"weights": ["aa" * 32], "engines": ["bb" * 32]}},
                **{name: table for name, table in tables.items() if table is not None},
            }
        )

    def given(self) -> tuple[Any, ...]:
        keyset = msgspec.structs.replace(KEYSET, platform=self.platform)
        shown = COLLATERAL if self.platform == "tdx" else None
        return keyset, self.evidence(), self.collateral or shown

    def examined(self, roots: Roots = ROOTS) -> Examination:
        return examine(*self.given(), policy=self.policy(), now=NOW, roots=roots)


def gpu(index: int = 0, platform: str = "tdx", **changes: Any) -> GpuEvidence:
    nonce = gpu_nonce(DIGESTS[platform], index)
    return gpus.Gpu(**{"name": f"gpu {index}", "nonce": nonce, **changes}).shown()


@pytest.mark.spec("17.2-a", "13.5-a", "13.5-b", "13.5-d")
@pytest.mark.parametrize("platform", ["tdx", "sev-snp", "vtpm"])
@pytest.mark.parametrize("count", [0, 2])
def test_an_honest_worker_of_each_platform_may_be_sealed_to(platform: str, count: int) -> None:
    shown = tuple(gpu(index, platform) for index in range(count))
    worker = Worker(platform=platform, gpus=shown, nvidia={"count": count} if count else None)
    examination = worker.examined()
    assert examination.refusal is None
    open_steps = {one.name for one in examination.steps if one.result is Result.UNKNOWN}
    assert open_steps <= MAY_BE_UNKNOWN[platform]
    assert (StepName.GPU_BINDING in open_steps) is (count == 0)
    assert all("not examined" not in one.detail for one in examination.steps)
    verified = verify_worker(*worker.given(), policy=worker.policy(), now=NOW, roots=ROOTS)
    assert verified.platform == platform
    assert len(bytes.fromhex(verified.platform_id)) in (16, 32, 64)
    assert verified.expires_at == KEYSET.not_after


def quote_of(**changes: Any) -> bytes:
    return PLATFORM.quote(replace(body(), report_data=Worker().bound, **changes))


def snp_quote(**changes: Any) -> bytes:
    bound = Worker("sev-snp").bound
    report, certificate = amd.Machine(**{"report_data": bound, **changes}).shown()
    return report + to_pem(certificate)


def without(name: str) -> dict[str, Any]:
    return {"tdx": {key: value for key, value in TDX_RULES.items() if key != name}}


GPU = gpu()
FAULTS: list[tuple[str, Worker, StepName, str]] = [
    ("no collateral named", Worker(names=msgspec.UNSET), StepName.COLLATERAL_PRESENT,
     "collateral_mismatch"),
    ("zeros behind the quote", Worker(quote=quote_of() + b"\0"), StepName.QUOTE_STRUCTURE,
     "evidence_malformed"),
    ("other report data", Worker(quote=PLATFORM.quote(body())), StepName.REPORT_DATA_BINDING,
     "evidence_binding"),
    ("debug", Worker(quote=quote_of(td_attributes=b"\1\0\0\x10\0\0\0\0")), StepName.DEBUG_DISABLED,
     "evidence_debug"),
    ("no TDX table", Worker(rules={"tdx": None}), StepName.MEASUREMENT, "measurement_refused"),
    *[(f"no {name}", Worker(rules=without(name)), StepName.MEASUREMENT, "measurement_refused")
      for name in TDX_RULES],
    ("an empty list", Worker(rules={"tdx": {**TDX_RULES, "mr_td": []}}), StepName.MEASUREMENT,
     "measurement_refused"),
    ("an application without a list", Worker(quote=quote_of(rtmrs=(bytes(48),) * 3 + (b"1" * 48,))),
     StepName.MEASUREMENT, "measurement_refused"),
    ("a configuration without a list", Worker(quote=quote_of(mr_config_id=b"1" * 48)),
     StepName.MEASUREMENT, "measurement_refused"),
    ("another machine", Worker(rules={"tdx": {**TDX_RULES, "platforms": []}}),
     StepName.PLATFORM_IDENTITY, "platform_not_listed"),
    ("collateral beside AMD's", Worker("sev-snp", names="00" * 32), StepName.COLLATERAL_PRESENT,
     "collateral_mismatch"),
    ("no certificate", Worker("sev-snp", quote=snp_quote()[:1184]), StepName.QUOTE_STRUCTURE,
     "evidence_malformed"),
    ("an unlisted launch", Worker("sev-snp", rules={"snp": None}), StepName.MEASUREMENT,
     "measurement_refused"),
    ("a host's data without a list", Worker("sev-snp", quote=snp_quote(host_data=b"h" * 32)),
     StepName.MEASUREMENT, "measurement_refused"),
    ("Milan", Worker("sev-snp", quote=snp_quote(generation="milan")), StepName.PLATFORM_ALLOWED,
     "platform_generation"),
    ("other SNP report data", Worker("sev-snp", quote=snp_quote(report_data=bytes(64))),
     StepName.REPORT_DATA_BINDING, "evidence_binding"),
    ("collateral beside a TPM's", Worker("vtpm", names="00" * 32), StepName.COLLATERAL_PRESENT,
     "collateral_mismatch"),
    ("another TPM", Worker("vtpm", rules={"vtpm": None}), StepName.CERTIFICATE_CHAIN,
     "evidence_root"),
    ("one register differs", Worker("vtpm", rules={"vtpm": {**VTPM_RULES,
                                                            "pcrs": {"4": ["00" * 32]}}}),
     StepName.MEASUREMENT, "measurement_refused"),
    ("another TPM nonce", Worker("vtpm", quote=Tpm().evidence()), StepName.REPORT_DATA_BINDING,
     "evidence_binding"),
    ("too few GPUs", Worker(nvidia={"count": 1}), StepName.GPU_EVIDENCE, "gpu_count"),
    ("one GPU twice", Worker(gpus=(GPU, gpu(1, name="gpu 0"))), StepName.GPU_EVIDENCE,
     "duplicate_gpu"),
    ("GPUs in another order", Worker(gpus=(gpu(1), gpu(0))), StepName.GPU_BINDING,
     "evidence_nonce"),
    ("a GPU of another keyset", Worker(gpus=(gpu(0, "vtpm"),)), StepName.GPU_BINDING,
     "evidence_nonce"),
    ("GPU evidence that is empty", Worker(gpus=(msgspec.structs.replace(GPU, report=""),)),
     StepName.GPU_EVIDENCE, "evidence_malformed"),
    ("GPU evidence that is no base64",
     Worker(gpus=(msgspec.structs.replace(GPU, certificate="?"),)), StepName.GPU_EVIDENCE,
     "evidence_malformed"),
    ("an unknown GPU", Worker(gpus=(gpu(chip="XX1"),)), StepName.GPU_EVIDENCE,
     "platform_generation"),
    ("a GPU that is not allowed", Worker(gpus=(GPU,), nvidia={"architectures": []}),
     StepName.GPU_EVIDENCE, "platform_generation"),
]  # fmt: skip


@pytest.mark.spec("17.2-a", "17.1-b")
@pytest.mark.parametrize(
    ("worker", "step", "code"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_each_fault_fails_its_step_with_its_code(worker: Worker, step: StepName, code: str) -> None:
    examination = worker.examined()
    assert [(one.name, one.code) for one in examination.steps if one.result is Result.FAIL] == [
        (step, code)
    ]
    with pytest.raises(WorkerRefused, match=f"^{step}: "):
        verify_worker(*worker.given(), policy=worker.policy(), now=NOW, roots=ROOTS)


@pytest.mark.spec("17.2-b")
@pytest.mark.parametrize("platform", ["tdx", "sev-snp"])
def test_without_other_roots_only_the_vendors_own_count(platform: str) -> None:
    keyset, evidence, collateral = Worker(platform).given()
    examination = examine(keyset, evidence, collateral, policy=Worker(platform).policy(), now=NOW)
    failed = [one.name for one in examination.steps if one.result is Result.FAIL]
    assert failed == [StepName.CERTIFICATE_CHAIN]


def test_an_image_may_be_named_as_a_whole() -> None:
    from bombyx.attestation.cocoon import image_hash  # noqa: PLC0415
    from bombyx.attestation.tdx_quote import parse_quote  # noqa: PLC0415

    whole = image_hash(parse_quote(quote_of())).hex()
    assert Worker(rules={"tdx": {"images": [whole]}}).examined().refusal is None


@pytest.mark.spec("17.2-c")
def test_a_platform_without_a_verifier_is_refused() -> None:
    keyset, evidence, _ = Worker("vtpm").given()
    shown = Shown(b"", msgspec.structs.replace(evidence, platform="sgx"), None, b"", b"")
    assert keyset.platform == "vtpm"
    with pytest.raises(EvidenceRefused, match="not supported"):
        verify_machine(shown, policy=Worker().policy(), roots=ROOTS, now=NOW, note=lambda *_: None)


def test_a_platform_that_nobody_knows_leaves_nothing_open() -> None:
    honest = Worker().examined()
    assert dataclasses.replace(honest, platform="abacus").refusal is not None
