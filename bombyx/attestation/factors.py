"""The factors of a piece of evidence, one by one (SPEC 17.4).

Verifiers of raw evidence report on each of them; a worker's verification (17.1) is told in fewer
steps, to each of which some factors belong.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bombyx.attestation.steps import StepName


class Factor(StrEnum):
    """What can be asked of evidence, in the order in which it is shown."""

    RESPONSE_SCHEMA = "response_schema"
    NONCE_MATCH = "nonce_match"
    TEE_QUOTE_PRESENT = "tee_quote_present"
    TEE_QUOTE_STRUCTURE = "tee_quote_structure"
    TEE_CERT_CHAIN = "tee_cert_chain"
    TEE_QUOTE_SIGNATURE = "tee_quote_signature"
    TEE_PLATFORM_ALLOWED = "tee_platform_allowed"
    TEE_DEBUG_DISABLED = "tee_debug_disabled"
    TEE_ATTRIBUTES = "tee_attributes"
    VENDOR_COLLATERAL = "vendor_collateral"
    INTEL_PCS_COLLATERAL = "intel_pcs_collateral"
    TEE_TCB_CURRENT = "tee_tcb_current"
    TEE_TCB_NOT_REVOKED = "tee_tcb_not_revoked"
    TEE_MEASUREMENT = "tee_measurement"
    TEE_HARDWARE_CONFIG = "tee_hardware_config"
    TEE_BOOT_CONFIG = "tee_boot_config"
    EVENT_LOG_INTEGRITY = "event_log_integrity"
    COMPOSE_BINDING = "compose_binding"
    CPU_ID_REGISTRY = "cpu_id_registry"
    SIGNING_KEY_PRESENT = "signing_key_present"
    TEE_REPORTDATA_BINDING = "tee_reportdata_binding"
    TLS_KEY_BINDING = "tls_key_binding"
    E2EE_CAPABLE = "e2ee_capable"
    E2EE_USABLE = "e2ee_usable"
    NVIDIA_PAYLOAD_PRESENT = "nvidia_payload_present"
    NVIDIA_CERT_CHAIN = "nvidia_cert_chain"
    NVIDIA_SIGNATURE = "nvidia_signature"
    NVIDIA_CLAIMS = "nvidia_claims"
    NVIDIA_DISTINCT = "nvidia_distinct"
    NVIDIA_PLATFORM_ALLOWED = "nvidia_platform_allowed"
    NVIDIA_FIRMWARE = "nvidia_firmware"
    NVIDIA_NOT_REVOKED = "nvidia_not_revoked"
    NVIDIA_NONCE_CLIENT_BOUND = "nvidia_nonce_client_bound"
    NVIDIA_NRAS_VERIFIED = "nvidia_nras_verified"
    TRUST_AUTHORITY_VERIFIED = "trust_authority_verified"
    CPU_GPU_CHAIN = "cpu_gpu_chain"
    NVSWITCH_BINDING = "nvswitch_binding"
    MEASURED_MODEL_WEIGHTS = "measured_model_weights"
    BUILD_TRANSPARENCY_LOG = "build_transparency_log"
    SIGSTORE_VERIFICATION = "sigstore_verification"
    SIGSTORE_CODE_VERIFIED = "sigstore_code_verified"
    PHYSICAL_ATTACK_RESISTANCE = "physical_attack_resistance"


_STEPS: Final[tuple[tuple[StepName, tuple[Factor, ...]], ...]] = (
    (StepName.EVIDENCE_FORM, (Factor.RESPONSE_SCHEMA, Factor.TEE_QUOTE_PRESENT)),
    (StepName.QUOTE_STRUCTURE, (Factor.TEE_QUOTE_STRUCTURE,)),
    (StepName.CERTIFICATE_CHAIN, (Factor.TEE_CERT_CHAIN,)),
    (StepName.QUOTE_SIGNATURE, (Factor.TEE_QUOTE_SIGNATURE,)),
    (StepName.PLATFORM_ALLOWED, (Factor.TEE_PLATFORM_ALLOWED,)),
    (StepName.DEBUG_DISABLED, (Factor.TEE_DEBUG_DISABLED, Factor.TEE_ATTRIBUTES)),
    (StepName.COLLATERAL_CURRENT, (Factor.INTEL_PCS_COLLATERAL, Factor.VENDOR_COLLATERAL)),
    (StepName.TCB_STATUS, (Factor.TEE_TCB_CURRENT,)),
    (StepName.TCB_NOT_REVOKED, (Factor.TEE_TCB_NOT_REVOKED,)),
    (
        StepName.MEASUREMENT,
        (
            Factor.TEE_MEASUREMENT,
            Factor.TEE_HARDWARE_CONFIG,
            Factor.TEE_BOOT_CONFIG,
            Factor.EVENT_LOG_INTEGRITY,
            Factor.COMPOSE_BINDING,
        ),
    ),
    (StepName.PLATFORM_IDENTITY, (Factor.CPU_ID_REGISTRY,)),
    (StepName.REPORT_DATA_BINDING, (Factor.TEE_REPORTDATA_BINDING, Factor.NONCE_MATCH)),
    (
        StepName.GPU_EVIDENCE,
        (
            Factor.NVIDIA_PAYLOAD_PRESENT,
            Factor.NVIDIA_CERT_CHAIN,
            Factor.NVIDIA_SIGNATURE,
            Factor.NVIDIA_CLAIMS,
            Factor.NVIDIA_DISTINCT,
            Factor.NVIDIA_PLATFORM_ALLOWED,
            Factor.NVIDIA_FIRMWARE,
            Factor.NVIDIA_NOT_REVOKED,
        ),
    ),
    (StepName.GPU_BINDING, (Factor.NVIDIA_NONCE_CLIENT_BOUND,)),
)
STEP_OF: Final[Mapping[Factor, StepName]] = MappingProxyType(
    {factor: step for step, factors in _STEPS for factor in factors}
)
"""The step of a worker's verification that a factor belongs to; some belong to none."""
FACTOR_OF: Final[Mapping[StepName, Factor]] = MappingProxyType(
    {step: factors[0] for step, factors in _STEPS}
)
"""The factor that stands for a step."""

UNASKED: Final[Mapping[Factor, str]] = MappingProxyType(
    {
        Factor.NONCE_MATCH: "nobody gave a nonce to compare with",
        Factor.TEE_TCB_NOT_REVOKED: "no revocation list is at hand",
        Factor.TEE_MEASUREMENT: "nobody said which images are allowed",
        Factor.TEE_HARDWARE_CONFIG: "nobody said which hardware configurations are allowed",
        Factor.TEE_BOOT_CONFIG: "nobody said which kernels and command lines are allowed",
        Factor.EVENT_LOG_INTEGRITY: "there is no event log beside the quote",
        Factor.COMPOSE_BINDING: "nobody said which application may run",
        Factor.CPU_ID_REGISTRY: "nobody said which physical machines are allowed",
        Factor.SIGNING_KEY_PRESENT: "raw evidence names no key; a keyset does",
        Factor.TEE_REPORTDATA_BINDING: "nobody said what the report data must bind",
        Factor.TLS_KEY_BINDING: "raw evidence names no TLS key",
        Factor.E2EE_CAPABLE: "raw evidence names no sealing key; a keyset does",
        Factor.E2EE_USABLE: "nothing was sealed",
        Factor.NVIDIA_FIRMWARE: "no reference measurements are at hand",
        Factor.NVIDIA_NOT_REVOKED: "no answer of the vendor about revocation is at hand",
        Factor.NVIDIA_NONCE_CLIENT_BOUND: "nobody gave a nonce of their own",
        Factor.NVIDIA_NRAS_VERIFIED: "no token of NVIDIA's service was given; raw evidence comes "
        "first",
        Factor.TRUST_AUTHORITY_VERIFIED: "no token of Intel's service was given; raw evidence "
        "comes first",
        Factor.CPU_GPU_CHAIN: "hardware ties no GPU to a CPU; a measured image does",
        Factor.NVSWITCH_BINDING: "nobody said which switches belong to which GPUs",
        Factor.MEASURED_MODEL_WEIGHTS: "weights are measured by the image, and named in a keyset",
        Factor.BUILD_TRANSPARENCY_LOG: "nobody gave a log of builds",
        Factor.SIGSTORE_VERIFICATION: "nobody gave a signature of the image's build",
        Factor.SIGSTORE_CODE_VERIFIED: "nobody gave a signature of the image's source",
        Factor.PHYSICAL_ATTACK_RESISTANCE: "no evidence can show that nobody taps the memory bus",
    }
)
"""Why a factor stays unknown that nobody asked about."""
