"""What goes wrong with a wallet (SPEC 19)."""

from bombyx.errors import BombyxError, RemoteError, SetupError


class WalletKeyRefused(SetupError):
    """Raised when a file holds no wallet key, or others can read it; the message says which."""

    code = "wallet_key"


class WalletBusy(SetupError):
    """Raised when another process uses this wallet's outbox."""

    code = "wallet_busy"


class WalletShort(BombyxError):
    """Raised when the wallet has too little for what it should send; nothing was sent."""

    status = 402
    type = "insufficient_quota"
    code = "wallet_short"
    should_retry = False


class OrderFailed(RemoteError):
    """Raised when an order was sent and refused: its money came back, less fees."""

    code = "order_failed"
    should_retry = False


class WalletForeign(BombyxError):
    """Raised when a wallet sent what its outbox did not sign: an old copy, or a stolen key.

    Nothing more is sent until a person has looked.
    """

    status = 503
    code = "wallet_foreign"
    should_retry = False
