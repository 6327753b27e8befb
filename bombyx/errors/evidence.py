"""Evidence of a confidential machine is refused: one class per cause (SPEC 17).

Each knows the step that it fails; see `EvidenceRefused`.
"""

from bombyx.errors.attestation import EvidenceRefused


class EvidenceMalformed(EvidenceRefused):
    """Raised when evidence is truncated, or its bytes are not what they may be."""

    code = "evidence_malformed"


class EvidenceMissing(EvidenceRefused):
    """Raised when a gateway that must prove itself shows a plain certificate."""

    code = "evidence_missing"


class TlsRefused(EvidenceRefused):
    """Raised when a connection to a gateway that must prove itself is not fresh TLS 1.3."""

    code = "tls_refused"


class EvidenceTooLarge(EvidenceRefused):
    """Raised when evidence is longer than its kind can be; nothing of it was parsed."""

    code = "evidence_too_large"


class ForgedEvidence(EvidenceRefused):
    """Raised when a report's signature is not by the key that its certificates name."""

    code = "evidence_forged"


class BrokenChain(EvidenceRefused):
    """Raised when certificates do not vouch for each other, or not for the report's key."""

    code = "evidence_chain"


class UnknownRoot(EvidenceRefused):
    """Raised when certificates end in another root than the vendor's."""

    code = "evidence_root"


class CertificateExpired(EvidenceRefused):
    """Raised when a certificate has expired."""

    code = "evidence_expired"


class CertificateFromFuture(EvidenceRefused):
    """Raised when a certificate is not valid yet."""

    code = "evidence_from_future"


class EvidenceRevoked(EvidenceRefused):
    """Raised when the vendor revoked a certificate or the patch level."""

    code = "evidence_revoked"


class RevocationUnknown(EvidenceRefused):
    """Raised when the policy wants to know of revocation, and nobody can tell."""

    code = "revocation_unknown"


class DebugEnabled(EvidenceRefused):
    """Raised when a debugger can look into the machine."""

    code = "evidence_debug"


class AttributesRefused(EvidenceRefused):
    """Raised when the machine has attributes or CPU features that the policy does not allow."""

    code = "evidence_attributes"


class NonceMismatch(EvidenceRefused):
    """Raised when evidence was made for another nonce."""

    code = "evidence_nonce"


class BindingMismatch(EvidenceRefused):
    """Raised when evidence binds other keys or other evidence than the ones offered."""

    code = "evidence_binding"


class WrongGeneration(EvidenceRefused):
    """Raised when a processor or GPU is of a generation that is unknown or not allowed."""

    code = "platform_generation"


class PlatformNotListed(EvidenceRefused):
    """Raised when the physical machine is not one that the policy lists."""

    code = "platform_not_listed"


class PlatformNotAllowed(EvidenceRefused):
    """Raised when the policy does not name the kind of platform."""

    code = "platform_not_allowed"


class MeasurementRefused(EvidenceRefused):
    """Raised when what the machine runs is not on the policy's list."""

    code = "measurement_refused"


class TcbRefused(EvidenceRefused):
    """Raised when the policy does not accept the patch level."""

    code = "tcb_refused"


class DuplicateGpu(EvidenceRefused):
    """Raised when one device is listed more than once."""

    code = "duplicate_gpu"


class GpuCountRefused(EvidenceRefused):
    """Raised when another number of GPUs is shown than the policy wants."""

    code = "gpu_count"


class FirmwareRefused(EvidenceRefused):
    """Raised when a device's driver or firmware is not what the vendor or the policy says."""

    code = "firmware_refused"


class EventLogMismatch(EvidenceRefused):
    """Raised when an event log does not lead to the registers that the quote holds."""

    code = "event_log_mismatch"
