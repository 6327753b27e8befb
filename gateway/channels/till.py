"""Which channel pays a request, and what its voucher is worth (SPEC 7.6).

A request that names no channel never comes here. Signatures are checked in the request's own turn,
before anything is claimed: transactions see checked vouchers only. What a channel is never changes,
so this process keeps it; how it stands is the database's alone.
"""

import re

from msgspec import Struct

from bombyx import canonical
from bombyx.errors import (
    BombyxError,
    MalformedHeader,
    NotCanonical,
    PaymentRequired,
    VoucherForeign,
    VoucherMalformed,
)
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import Ceiling, Voucher, check_offered
from gateway.channels.offers import Cashier
from gateway.channels.repository import Channels

VOUCHER_HEADER = b"x-bombyx-voucher"
MAX_VOUCHER_BYTES = 512
"""About twice what a voucher needs."""
MAX_KNOWN = 8_192
"""Channels that this process keeps in mind, some kilobytes each with their keys and hashes."""
_NAME = re.compile(r"tvm:(-?[1-9][0-9]{0,9}):([0-9a-f]{64})")


class Payment(Struct, frozen=True):
    """A channel of the request's own account, and the checked voucher that came along."""

    channel: Channel
    offered: Ceiling | None
    cashier: Cashier

    @property
    def id(self) -> str:
        """The channel as rows name it."""
        return self.channel.account.hex()

    def refused(self, error: BombyxError, cost: int, row: ChannelRow) -> BombyxError:
        """Why it does not pay, with terms."""
        return self.cashier.refused(error, cost, channel=self.channel, row=row)


class Till:
    """One per process; without a cashier (`--chain none`) channels pay nothing here."""

    def __init__(self, channels: Channels, cashier: Cashier | None) -> None:
        self._channels = channels
        self._known: dict[str, tuple[str, Channel]] = {}
        self.cashier = cashier

    async def payment(self, name: str, account: str, *, voucher: bytes) -> Payment:
        """How a request pays that names a channel in its header; `voucher` may be empty.

        Raises `MalformedHeader`, `VoucherForeign`, `VoucherMalformed`, `VoucherExpires`,
        `VoucherForged`, and `PaymentRequired` for a channel that this account did not register.
        """
        cashier = self.cashier
        if cashier is None:
            raise PaymentRequired("this gateway takes no payment channels", param="channel")
        channel_id = _id_of(name, cashier.network)
        owner, channel = self._known.get(channel_id) or await self._find(channel_id)
        if owner != account:
            raise _not_registered()
        offered = check_offered(parse_voucher(voucher), channel) if voucher else None
        return Payment(channel, offered, cashier)

    def explained(self, error: BombyxError, cost: int) -> BombyxError:
        """A refusal for want of money, with terms where this gateway has any."""
        return error if self.cashier is None else self.cashier.explained(error, cost)

    async def _find(self, channel_id: str) -> tuple[str, Channel]:
        stored = await self._channels.find(channel_id)
        if stored is None:
            raise _not_registered()
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        found = self._known[channel_id] = (stored.owner, stored.channel)
        return found


def parse_voucher(value: bytes) -> Voucher:
    """A voucher header; raises `VoucherMalformed`."""
    if len(value) > MAX_VOUCHER_BYTES:
        raise VoucherMalformed(f"a voucher has at most {MAX_VOUCHER_BYTES} bytes")
    try:
        return canonical.decode(value, Voucher)
    except NotCanonical as error:
        raise VoucherMalformed(error.message) from None


def _id_of(name: str, network: int) -> str:
    found = _NAME.fullmatch(name)
    if found is None:
        raise MalformedHeader("a channel is named tvm:NETWORK:ADDRESS", param="channel")
    if int(found[1]) != network:
        raise VoucherForeign("the channel is on another network", param="channel")
    return found[2]


def _not_registered() -> PaymentRequired:
    # One answer for what is unknown and for what is another's: neither is anybody's to ask.
    return PaymentRequired(
        "this account has not registered this channel: POST it to /v1/channels", param="channel"
    )
