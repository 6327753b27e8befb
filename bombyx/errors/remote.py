"""A peer failed or lied: nothing the caller did."""

from bombyx.errors.root import BombyxError


class RemoteError(BombyxError):
    """Raised when something behind us failed."""

    status = 502
    type = "upstream_error"
    code = "upstream_failed"


class EngineFailed(RemoteError):
    """Raised when the model engine crashed, hung or answered nonsense."""

    code = "engine_failed"


class EngineTimeout(RemoteError):
    """Raised when the engine or worker gave no token in time."""

    status = 504
    code = "engine_timeout"


class RelayInterrupted(RemoteError):
    """Raised when the gateway says (unauthenticated) that an answer broke off."""

    code = "relay_interrupted"


class Truncated(RemoteError):
    """Raised when an answer ends without its authenticated end."""

    code = "truncated"


class BadReceipt(RemoteError):
    """Raised when an answer's receipt does not fit the request; keep everything for a dispute."""

    code = "bad_receipt"
    should_retry = False


class BadTicket(BadReceipt):
    """Raised when a statement's ticket was not issued by this gateway or names another claim."""

    code = "bad_ticket"


class BadAnswer(RemoteError):
    """Raised when a 2xx answer is not the sealed answer that was asked for."""

    code = "bad_answer"


class BadStream(RemoteError):
    """Raised when a stream of server-sent events breaks its format or its limits."""

    code = "bad_stream"


class UnprovenRefusal(RemoteError):
    """Raised when a gateway says that a request was refused and its proof does not hold.

    The same bytes may be sent again; sealing anew could run and bill the request twice.
    """

    code = "unproven_refusal"


class GatewayUnreachable(RemoteError):
    """Raised by the sidecar when its gateway cannot be reached; the caller tries again."""

    code = "gateway_unreachable"


class LinkError(RemoteError):
    """Raised when the peer on a link breaks the link protocol; the link is closed."""

    code = "link_protocol"


class JournalFailed(RemoteError):
    """Raised when a worker cannot keep a statement on disk, and so may not send it."""

    code = "journal_failed"


class LinkLost(RemoteError):
    """Raised when a link closes under a running request."""

    code = "link_lost"
