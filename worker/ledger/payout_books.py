"""How a gateway pays this worker's owner, as the journal keeps it (SPEC 8). Pure.

Channel, best voucher and what the owner saw on chain are one note; what is billed and not covered
is the journal's own sum, changed in the same commit. Only checked documents become these books.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from msgspec import UNSET, UnsetType

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.money.channel import payout
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout import Earnings
from bombyx.money.channel.payout_documents import (
    HeldPayout,
    PayoutChannel,
    SeenPayout,
    admit_payout,
    payout_channel_of,
)
from bombyx.money.channel.terms import Ceiling, Voucher, check_offered, network_text, voucher_of
from bombyx.units import NanoText

NOTES: Final = "payout/"
"""How the journal's notes of these books begin; behind it stands the gateway."""


class PayoutNote(Document, frozen=True):
    """The books without what is billed."""

    deposited: NanoText
    covered: NanoText
    closing: bool
    payout_channel: PayoutChannel | UnsetType = UNSET
    voucher: Voucher | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Payee:
    """Who is paid: an account of the basechain, and the owner's key."""

    account: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class PayoutBooks:
    """One gateway. `covered` is what vouchers of this channel covered of this worker's bills."""

    channel: Channel | None = None
    earnings: Earnings = field(default_factory=Earnings)
    covered: int = 0

    def billed(self, billed: int) -> "PayoutBooks":
        """With the journal's sum of what is disposed of as owed and not covered."""
        return replace(self, earnings=replace(self.earnings, billed=billed))

    def paid(self, offered: Ceiling) -> "PayoutBooks":
        """A voucher of this channel counts from now on."""
        return self._covering(payout.paid(self.earnings, offered))

    def seen(self, told: SeenPayout) -> "PayoutBooks":
        """The owner looked at this channel: what it holds, and whether it ends."""
        earnings = payout.funds_seen(self.earnings, int(told.deposited))
        if told.close_at or told.closed:
            earnings = payout.close_seen(earnings)
        return self._covering(earnings)

    def with_channel(self, channel: Channel, known: Ceiling) -> "PayoutBooks":
        """The gateway pays by this one now; `known` is the voucher that we hold of it already.

        What that one was good for has counted before: to come back to a channel covers nothing.
        """
        fresh = payout.from_new_channel(self.earnings)
        earnings = replace(fresh, best=known, deposited=known.amount)
        return PayoutBooks(channel, earnings)

    def _covering(self, after: Earnings) -> "PayoutBooks":
        more = self.earnings.billed - after.billed
        return replace(self, earnings=after, covered=self.covered + more)

    def is_of(self, told: SeenPayout) -> bool:
        """Whether somebody speaks of this channel, on its network."""
        channel = self.channel
        return channel is not None and (told.network, told.channel) == (
            network_text(channel.network),
            channel.account.hex(),
        )

    def held(self, gateway: str, best: Ceiling) -> HeldPayout | None:
        """For the owner: the channel with its best voucher, counted or not."""
        if self.channel is None:
            return None
        return HeldPayout(
            gateway=gateway,
            payout_channel=payout_channel_of(self.channel),
            billed_nano=str(self.covered + self.earnings.billed),
            is_current=True,
            voucher=voucher_of(self.channel, best) if best.amount else UNSET,
        )


def note_of(books: PayoutBooks) -> str:
    """The note of these books."""
    channel, earnings = books.channel, books.earnings
    note = PayoutNote(
        deposited=str(earnings.deposited),
        covered=str(books.covered),
        closing=earnings.closing,
    )
    if channel is not None:
        note = PayoutNote(
            deposited=note.deposited,
            covered=note.covered,
            closing=note.closing,
            payout_channel=payout_channel_of(channel),
            voucher=voucher_of(channel, earnings.best) if earnings.best.amount else UNSET,
        )
    return canonical.encode(note).decode()


def books_of(note: str | None, payee: Payee | None) -> PayoutBooks:
    """Read a note; empty books where there is none, or where the payee is another one now.

    Raises what `admit_payout` and `check_offered` do where a note was changed.
    """
    told = None if note is None else canonical.decode(note.encode(), PayoutNote)
    if told is None or payee is None or not isinstance(told.payout_channel, PayoutChannel):
        return PayoutBooks()
    if told.payout_channel.gateway != payee.account.hex():
        return PayoutBooks()
    channel = admit_payout(
        told.payout_channel,
        payee=payee.account,
        payee_key=bytes.fromhex(told.payout_channel.gateway_key),
    )
    best = check_offered(told.voucher, channel) if isinstance(told.voucher, Voucher) else Ceiling()
    earnings = Earnings(deposited=int(told.deposited), best=best, closing=told.closing)
    return PayoutBooks(channel, earnings, int(told.covered))
