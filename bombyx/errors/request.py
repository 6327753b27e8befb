"""The caller broke a rule: fix the request."""

from bombyx.errors.root import BombyxError


class RequestError(BombyxError):
    """Raised when a request is wrong; the caller may mend it, and must not repeat it as it is."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    should_retry = False


class InvalidJson(RequestError):
    """Raised when a body is no JSON object, has duplicate keys or nests too deep."""

    code = "invalid_json"


class NotCanonical(RequestError):
    """Raised when a signed or hashed document is not the canonical form of its type."""

    code = "not_canonical"


class MalformedHeader(RequestError):
    """Raised when the clear header of a sealed request breaks a rule of SPEC 2."""

    code = "malformed_header"


class MalformedRequest(RequestError):
    """Raised when the bytes around the header (commitment, wraps) are not as SPEC 2 says."""

    code = "malformed_sealed_request"


class MalformedFrame(RequestError):
    """Raised when sealed frames are torn, too long, out of order or do not open."""

    code = "malformed_frame"


class CannotOpen(RequestError):
    """Raised when a wrap or commitment does not open; all causes share one message outside."""

    code = "cannot_open"


class BadSignature(RequestError):
    """Raised when a signature does not verify."""

    code = "bad_signature"


class BadAuth(RequestError):
    """Raised when the payer's signature over a request's commitment is wrong."""

    code = "bad_auth"


class HeaderMismatch(RequestError):
    """Raised when the sealed body asks for something else than its clear header."""

    code = "header_mismatch"


class UnsupportedParameter(RequestError):
    """Raised for a request field that no engine here honours."""

    code = "unsupported_parameter"


class UnsupportedValue(RequestError):
    """Raised for a value outside of what is served."""

    code = "unsupported_value"


class ContextLengthExceeded(RequestError):
    """Raised when a prompt is longer than the header allowed or the model's context holds."""

    code = "context_length_exceeded"


class CostCapExceeded(RequestError):
    """Raised when even the prompt costs more than the header's `max_cost_nano`."""

    code = "cost_cap_exceeded"


class ClockSkew(RequestError):
    """Raised when `issued_at` is too far from our clock; the caller sets its clock right."""

    code = "clock_skew"


class ClockAhead(RequestError):
    """Raised when `issued_at` lies in the future; no proof that the request will not run later."""

    code = "clock_ahead"


class ReplayedRequest(RequestError):
    """Raised when this worker has seen the commitment before."""

    code = "replayed"


class WrongGateway(RequestError):
    """Raised when a header names another gateway than the one that carries it."""

    code = "wrong_gateway"


class WrongFee(RequestError):
    """Raised when a header names another fee than the gateway's; fetch the directory again."""

    status = 422
    code = "wrong_fee"


class Unauthenticated(RequestError):
    """Raised without a valid API key."""

    status = 401
    code = "invalid_api_key"


class Forbidden(RequestError):
    """Raised when the key is valid and may not do this."""

    status = 403
    type = "permission_error"
    code = "forbidden"


class InsufficientQuota(RequestError):
    """Raised when the account cannot cover the request's reserve."""

    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"
    payment: bytes | None = None
    """Canonical terms of another way to pay, which go beside the error."""


class NotFound(RequestError):
    """Raised for an unknown path or object."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """Raised when no listed worker serves the model."""

    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """Raised for a method that the path does not have."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(RequestError):
    """Raised when a client sends its request too slowly; it may try again."""

    status = 408
    code = "request_timeout"
    should_retry = True


class InProgress(RequestError):
    """Raised when the same request runs in another process; ask for its receipt."""

    status = 409
    code = "in_progress"


class AlreadyAnswered(RequestError):
    """Raised when the same request ran to its end and its answer is no longer kept."""

    status = 409
    code = "outcome"

    def __init__(self, message: str, *, c: bytes = b"", receipt: bytes | None = None) -> None:
        super().__init__(message)
        self.c = c
        self.receipt = receipt
        """Canonical JSON of the receipt that settled it, where there is one."""


class CommitmentConflict(RequestError):
    """Raised when a commitment is already claimed for another account or header."""

    status = 409
    code = "c_conflict"


class TooLarge(RequestError):
    """Raised when a size limit is passed."""

    status = 413
    code = "request_too_large"


class HeadTooLarge(RequestError):
    """Raised when the request line and headers are too many or too long."""

    status = 431
    code = "headers_too_large"


class WrongMediaType(RequestError):
    """Raised for a content type that the path does not take."""

    status = 415
    code = "unsupported_media_type"


class Misdirected(RequestError):
    """Raised by the sidecar when the Host header is not its own (DNS rebinding)."""

    status = 421
    code = "misdirected_request"


class NotSealable(RequestError):
    """Raised by the sealed client for a request that it cannot seal; it sends none in clear."""

    code = "not_sealable"


class IdempotencyConflict(RequestError):
    """Raised when an Idempotency-Key comes again with another body; use a new key."""

    status = 409
    code = "idempotency_conflict"


class NoCandidate(RequestError):
    """Raised when none of the header's candidates can serve: verify, seal and try once more."""

    status = 422
    code = "no_candidate"


class StaleCandidate(RequestError):
    """Raised by a worker whose named key or offer ran out: verify, seal and try once more."""

    status = 422
    code = "stale_candidate"
