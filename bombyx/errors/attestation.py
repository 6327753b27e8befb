"""The worker is not what the policy asks for: nothing was sent to it."""

from collections.abc import Sequence

from bombyx.errors.root import BombyxError


class AttestationError(BombyxError):
    """Raised when evidence or policy refuses a worker; nothing was sent to it."""

    status = 502
    type = "attestation_error"
    code = "attestation_failed"
    should_retry = False


class EvidenceRefused(AttestationError):
    """Raised inside the verification when one step fails; `step` is its name (SPEC 17)."""

    code = "evidence_refused"

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step


class WorkerRefused(AttestationError):
    """Raised when a worker's evidence fails a named step; `steps` holds the whole examination."""

    code = "worker_refused"

    def __init__(self, message: str, *, steps: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.steps = tuple(steps)


class GatewayRefused(AttestationError):
    """Raised when a gateway is none that the policy allows; nothing was sent.

    Its key is not pinned, or its evidence fails a named step: then `steps` holds the examination.
    """

    code = "gateway_refused"

    def __init__(self, message: str, *, steps: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.steps = tuple(steps)


class NoVerifiedWorker(AttestationError):
    """Raised when no worker of a model passes the policy; nothing was sent."""

    code = "no_verified_worker"


class PolicyError(AttestationError):
    """Raised when a policy is missing, unreadable or allows nothing."""

    code = "policy_error"
