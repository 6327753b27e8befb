"""What Intel's Trust Authority says of a TDX machine (SPEC 17.8). A second opinion.

The names of claims follow Intel's documentation; no token of the live service was at hand.
"""

import hmac
from typing import Any, Final

from bombyx.attestation.factors import Factor
from bombyx.attestation.tokens.jwk import Jwks
from bombyx.attestation.tokens.jws import Issuer, open_token
from bombyx.errors import TokenClaimsRefused

FACTOR: Final = Factor.TRUST_AUTHORITY_VERIFIED
TRUST_AUTHORITY: Final = Issuer("https://portal.trustauthority.intel.com", "PS384", FACTOR)
_UP_TO_DATE = "UpToDate"


def verify_trust_authority(
    token: str, keys: Jwks, *, report_data: bytes | None, now: int
) -> dict[str, Any]:
    """The claims of a machine that is up to date and not debugged, made for this report data.

    Without report data nobody asks what it was made for. Raises `EvidenceRefused`.
    """
    claims = open_token(token, TRUST_AUTHORITY, keys, now=now)
    if claims.get("attester_type") != "TDX":
        raise TokenClaimsRefused(FACTOR, "the token is not about a TDX machine")
    if claims.get("attester_tcb_status") != _UP_TO_DATE:
        raise TokenClaimsRefused(FACTOR, "the service does not find the patch level up to date")
    if claims.get("tdx_is_debuggable") is not False:
        raise TokenClaimsRefused(FACTOR, "the service does not say that nobody debugs the machine")
    stated = str(claims.get("tdx_report_data")).encode()
    if report_data is not None and not hmac.compare_digest(stated, report_data.hex().encode()):
        raise TokenClaimsRefused(FACTOR, "the token was made for other report data")
    return claims
