"""What a vendor says about a platform is refused, as are attestation tokens (SPEC 17)."""

from bombyx.errors.attestation import EvidenceRefused


class CollateralMissing(EvidenceRefused):
    """Raised when what the vendor says about the platform is not at hand."""

    code = "collateral_missing"


class CollateralMalformed(EvidenceRefused):
    """Raised when collateral cannot be read."""

    code = "collateral_malformed"


class CollateralAltered(EvidenceRefused):
    """Raised when collateral is not what its signer signed."""

    code = "collateral_altered"


class CollateralChain(EvidenceRefused):
    """Raised when collateral is by somebody else than the vendor."""

    code = "collateral_chain"


class CollateralExpired(EvidenceRefused):
    """Raised when collateral is past its date; fetch it anew."""

    code = "collateral_expired"


class CollateralFromFuture(EvidenceRefused):
    """Raised when collateral is from later than now; set the clock right."""

    code = "collateral_from_future"


class CollateralMismatch(EvidenceRefused):
    """Raised when collateral is about another platform or version."""

    code = "collateral_mismatch"


class TokenMalformed(EvidenceRefused):
    """Raised when an attestation token cannot be read."""

    code = "token_malformed"


class TokenAlgorithmRefused(EvidenceRefused):
    """Raised when a token names another algorithm than its issuer's, or none."""

    code = "token_algorithm"


class TokenForged(EvidenceRefused):
    """Raised when a token is not signed by its issuer's key."""

    code = "token_forged"


class TokenExpired(EvidenceRefused):
    """Raised when a token is past its time, or from later."""

    code = "token_expired"


class TokenClaimsRefused(EvidenceRefused):
    """Raised when a token says something else than what was asked for."""

    code = "token_claims"
