"""The end of a channel, and claims on the way there (SPEC 9): when to claim, what to sign.

Close terms are a cell of TON as vouchers are, hashed here from plain numbers. Pure: `now`,
`close_at` and periods are seconds; amounts are nano.
"""

import hashlib
from dataclasses import dataclass

from bombyx.errors import (
    BadSignature,
    ChannelRolledBack,
    CloseInFlight,
    CloseNotAsked,
    CloseTermsRefused,
)
from bombyx.money.channel.acceptance import MAX_TERMS_S, ChannelRow
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.spending import Purse
from bombyx.money.channel.terms import Ceiling
from bombyx.money.voucher import MAX_COINS, VoucherSigner, check_digest

TAG = 0x56434C31
"""How close terms begin; no voucher begins so."""
MARGIN_S = 1_200
"""The last claim leaves at least so long before the close can be finished: twenty minutes."""
WORTH = 100
"""An open channel is claimed when that brings so many times its cost: one per cent at most."""
_STANDARD_ADDRESS = 0b100
_FIXED_BYTES = (32 + 32 + 3 + 8 + 256 + 4 + 32 + 1) // 8


def close_digest(channel: Channel, amount: int, *, valid_until: int) -> bytes:
    """The hash of the terms' cell: what both keys sign. Raises `ValueError` for other numbers."""
    if not (0 <= amount <= MAX_COINS and 0 <= valid_until < 1 << 32):
        raise ValueError("close terms cannot hold these numbers")
    size = (amount.bit_length() + 7) // 8
    data = TAG << 32 | channel.network & 0xFFFFFFFF
    data = (data << 3 | _STANDARD_ADDRESS) << 264 | int.from_bytes(channel.account)
    data = (data << 4 | size) << 8 * size | amount
    # 367 bits and whole bytes: as in a voucher, the completion is a single one.
    data = data << 33 | valid_until << 1 | 1
    length = _FIXED_BYTES + size
    return hashlib.sha256(bytes((0, 2 * length - 1)) + data.to_bytes(length)).digest()


@dataclass(frozen=True, slots=True)
class CloseTerms:
    """An end that both sign: `amount` nano for the gateway in all, until `valid_until`."""

    amount: int
    valid_until: int


class ChannelSigner(VoucherSigner):
    """A channel's key that ends it too: signs these two cells and nothing else (SPEC 7.2)."""

    def sign_close(self, channel: Channel, terms: CloseTerms) -> bytes:
        """Agree to this end: 64 bytes. Check first, and save what that check returned."""
        digest = close_digest(channel, terms.amount, valid_until=terms.valid_until)
        return self._key.sign(digest).signature


def check_close_signature(
    channel: Channel, terms: CloseTerms, *, signature: bytes, key: bytes
) -> None:
    """One party's key signed these terms; raises `CloseTermsRefused`."""
    try:
        digest = close_digest(channel, terms.amount, valid_until=terms.valid_until)
        check_digest(digest, signature=signature, key=key)
    except (BadSignature, ValueError):
        raise CloseTermsRefused("the close terms are not signed by the other side") from None


def check_client_terms(purse: Purse, terms: CloseTerms, *, now: int) -> None:
    """Whether the client may sign (SPEC 9.2): nothing runs, and it pays what was proven at most.

    Otherwise it starts a close, which needs nobody. Raises `CloseNotAsked`, `CloseInFlight`,
    `CloseTermsRefused`.
    """
    if not purse.closing:
        raise CloseNotAsked("this channel is not being closed")
    if purse.inflight:
        raise CloseInFlight("requests of this channel still run")
    if terms.amount > purse.proven:
        raise CloseTermsRefused("the gateway wants more than its receipts prove")
    if not now < terms.valid_until <= now + MAX_TERMS_S:
        raise CloseTermsRefused("close terms are good for ten minutes at most")


def claim_by(close_at: int, period: int) -> int:
    """When the last claim must be on its way: a third of the period is left, or twenty minutes."""
    return close_at - max(period // 3, MARGIN_S)


def claim_due(row: ChannelRow, *, cost: int, period: int, now: int) -> int | None:
    """The total that the gateway should claim now, or None (SPEC 9.6).

    Always what was charged, with the voucher of `row.ceiling`; never the ceiling itself. While a
    channel is open it must be worth its `cost`; once closing, when all is settled or time runs
    short, and again when more settles. Raises `ChannelRolledBack`.
    """
    if row.halted:
        raise ChannelRolledBack("this channel waits for its operator")
    gain = row.charged - row.claimed
    if row.closed or gain <= cost:
        return None
    if not row.closing:
        return row.charged if gain >= WORTH * cost else None
    is_late = row.close_at > 0 and now >= claim_by(row.close_at, period)
    return row.charged if is_late or not row.reserved else None


@dataclass(frozen=True, slots=True)
class PayoutView:
    """A payout channel as the owner's watcher sees it on chain; `close_at` 0 while open."""

    deposited: int
    claimed: int
    close_at: int = 0


def payout_claim_due(best: Ceiling, seen: PayoutView, *, cost: int) -> int | None:
    """The total that a worker's owner should claim now, or None (SPEC 8.6).

    All that a payout voucher names is earned. A close is answered at once: nothing is to come.
    """
    gain = min(best.amount, seen.deposited) - seen.claimed
    least = cost + 1 if seen.close_at else WORTH * cost
    return best.amount if gain >= max(least, 1) else None
