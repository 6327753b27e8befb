"""A file of evidence with a decision cannot be taken for what it says (SPEC 17.12)."""

from bombyx.errors.attestation import AttestationError


class BundleError(AttestationError):
    """Raised when a bundle of evidence does not hold."""

    code = "bundle_refused"


class BundleTooLarge(BundleError):
    """Raised when a bundle is longer than one can be; nothing of it was parsed."""

    code = "bundle_too_large"


class BundleMalformed(BundleError):
    """Raised when a bundle cannot be read, or not in its one spelling."""

    code = "bundle_malformed"


class BundleAltered(BundleError):
    """Raised when a bundle is not what its digest says: something was changed after it was made."""

    code = "bundle_altered"


class BundleMismatch(BundleError):
    """Raised when the decision in a bundle is about other documents than those beside it."""

    code = "bundle_mismatch"


class DecisionNotReproduced(BundleError):
    """Raised when the documents of a bundle lead to another decision than the one in it."""

    code = "decision_not_reproduced"
