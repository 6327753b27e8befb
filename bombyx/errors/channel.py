"""Payment channels: what is refused, by whom, and what then has to be done (SPEC 7 to 9)."""

from bombyx.errors.remote import BadReceipt, RemoteError
from bombyx.errors.request import RequestError
from bombyx.errors.root import BombyxError


class PaymentRequired(RequestError):
    """Raised when a request is not paid for; the terms beside it say what would be enough."""

    status = 402
    type = "insufficient_quota"
    code = "payment_required"
    payment: bytes | None = None
    """Canonical terms that go beside the error."""


class VoucherRequired(PaymentRequired):
    """Raised when the highest voucher does not cover a request; sign a higher one."""

    code = "voucher_required"


class DepositTooLow(PaymentRequired):
    """Raised when a channel's deposit does not cover a request; top it up."""

    code = "deposit_too_low"


class ChannelClosing(PaymentRequired):
    """Raised when a channel is being closed and takes no new requests; open another one."""

    code = "channel_closing"


class ChannelClosed(PaymentRequired):
    """Raised when a channel was closed once: it is never used again; open another one."""

    code = "channel_closed"


class InflightCap(PaymentRequired):
    """Raised by a client for a request that would put more at risk than its owner allows."""

    code = "inflight_cap"


class DailyCap(PaymentRequired):
    """Raised by a client for a request that would spend more today than its owner allows."""

    code = "daily_cap"


class DepositCap(PaymentRequired):
    """Raised by a client for a top-up that would lock more than its owner allows."""

    code = "deposit_cap"


class VoucherForeign(RequestError):
    """Raised for a voucher of another network or channel."""

    code = "voucher_foreign"


class VoucherExpires(RequestError):
    """Raised for a voucher with an end: it could lapse before it is claimed."""

    code = "voucher_expires"


class VoucherMalformed(RequestError):
    """Raised for a voucher header that holds no voucher in its canonical form."""

    code = "voucher_malformed"


class VoucherForged(RequestError):
    """Raised for a voucher that the channel's key did not sign."""

    code = "voucher_forged"


class ChannelAddressWrong(RequestError):
    """Raised when a channel's address does not follow from its configuration and the code."""

    code = "channel_address"


class ChannelNotFound(RequestError):
    """Raised for a channel that is not registered, or not on chain yet; repeat it later."""

    status = 409
    code = "channel_not_found"
    should_retry = True


class ChannelNotOurs(RequestError):
    """Raised when a channel names another gateway, payee or key than it should."""

    code = "channel_not_ours"


class ChannelPeriodRefused(RequestError):
    """Raised when a channel's challenge period is too short for claims, or too long."""

    code = "channel_period"


class ChannelKeyWeak(RequestError):
    """Raised when one signature under a channel's key could be good for many vouchers."""

    code = "channel_key"


class CloseNotAsked(RequestError):
    """Raised when terms are to be signed for a channel that nobody is closing."""

    status = 409
    code = "close_not_asked"


class CloseInFlight(RequestError):
    """Raised when terms are to be signed while requests still run; try again later."""

    status = 409
    code = "close_in_flight"
    should_retry = True


class CloseTermsRefused(RequestError):
    """Raised when close terms name another amount, channel or time than may be signed."""

    code = "close_terms_refused"


class TopUpRefused(RequestError):
    """Raised by a client for a top-up to an address or for a gateway that nothing vouches for."""

    code = "top_up_refused"


class ChannelRolledBack(BombyxError):
    """Raised when the chain paid more than the gateway's books know; claims stop, people look."""

    status = 503
    code = "channel_rolled_back"
    should_retry = False


class ChannelBooks(BombyxError):
    """Raised when a change would leave a channel's books in contradiction; nothing is changed."""

    code = "channel_books"
    should_retry = False


class GatewayLied(RemoteError):
    """Raised when a gateway's 402 is provably false; the client signs nothing more, and closes."""

    code = "gateway_lied"
    should_retry = False


class ChannelHalted(RemoteError):
    """Raised by a client that caught its gateway lying, for whatever is asked of it since."""

    code = "channel_halted"
    should_retry = False


class TermsRefused(RemoteError):
    """Raised when a gateway's terms do not fit the client's policy, channel or request."""

    code = "terms_refused"
    should_retry = False


class PaymentRefused(RemoteError):
    """Raised when a gateway refuses what by the client's books is enough; nothing more is sent."""

    code = "payment_refused"
    should_retry = False


class UnprovenCharges(RemoteError):
    """Raised when a gateway may have charged for answers that were lost; ask for receipts first."""

    code = "unproven_charges"
    should_retry = False


class ProofRefused(BadReceipt):
    """Raised for a receipt that proves no charge of this channel: another's, or a second time."""

    code = "proof_refused"
