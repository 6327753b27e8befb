"""Too much at once: the caller waits and tries again."""

from bombyx.errors.root import BombyxError


class RateLimited(BombyxError):
    """Raised when a limit of the key or account is reached; the caller waits."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class Overloaded(BombyxError):
    """Raised when everything is busy; the caller waits `retry_after_ms`."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"
    should_retry = True


class WorkerBusy(Overloaded):
    """Raised by a worker whose replay store or slots are full."""

    code = "busy"


class Unpaid(Overloaded):
    """Raised by a worker when the gateway owes it more than its limit (SPEC 8)."""

    code = "gateway_unpaid"


class Draining(Overloaded):
    """Raised while a process stops; another one answers."""

    code = "draining"
    unclaimed: bool = False
    """Whether nothing was claimed for the request yet, so that another process may take it."""


class StoreBusy(Overloaded):
    """Raised when the gateway's database cannot be written just now; the caller waits."""

    code = "store_busy"
