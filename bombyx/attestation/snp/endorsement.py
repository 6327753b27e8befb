"""AMD's certificate for the key that signed a report: VCEK or VLEK (SPEC 17.5)."""

from typing import Final

from bombyx.attestation.certificates import Certificate
from bombyx.attestation.chains import Blame
from bombyx.attestation.factors import Factor

BLAME: Final = Blame(Factor.TEE_CERT_CHAIN, "AMD's certificate")
KINDS: Final = {"SEV-VCEK": 0, "SEV-VLEK": 1}
"""The common names of endorsed keys, and what a report calls each: of a chip, of a cloud."""
_AMD: Final = "1.3.6.1.4.1.3704.1."
HW_ID: Final = _AMD + "4"
TCB_OIDS: Final = {
    "bl": _AMD + "3.1",
    "tee": _AMD + "3.2",
    "snp": _AMD + "3.3",
    "ucode": _AMD + "3.8",
    "fmc": _AMD + "3.9",
}
Endorsement = Certificate


def key_kind(endorsement: Endorsement) -> str:
    """`vcek` or `vlek`: a key of a chip, or of a cloud."""
    return endorsement.name.removeprefix("SEV-").lower()
