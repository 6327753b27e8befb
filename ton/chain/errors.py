"""What goes wrong between us and the chain (SPEC 19)."""

from bombyx.errors import RemoteError, RequestError


class ProviderFault(RemoteError):
    """Raised when one provider does not answer, or answers what cannot be; names it."""

    code = "provider_fault"

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(f"{provider} {reason}")
        self.provider = provider
        self.reason = reason


class ChainUnreachable(RemoteError):
    """Raised when too few providers answer to decide anything; the message names the others."""

    code = "chain_unreachable"


class ChainDisagrees(RemoteError):
    """Raised when providers tell different things and none of them has a quorum."""

    code = "chain_disagrees"
    should_retry = False


class ChainRolledBack(RemoteError):
    """Raised when the chain no longer has what it had: money that was there may not be."""

    code = "chain_rolled_back"
    should_retry = False


class NotSeen(RemoteError):
    """Raised when a message had no effect in the time given; it may still have one later."""

    code = "transaction_not_seen"


class GetMethodFailed(RequestError):
    """Raised when a contract's get method ends with an error, or there is no contract."""

    code = "get_method_failed"

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ForeignContract(RequestError):
    """Raised when what is at an address is not the contract that was expected there."""

    code = "foreign_contract"
