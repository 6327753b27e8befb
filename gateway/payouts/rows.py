"""An owner's payout channel as the database has it, and the ledger's names for its money."""

from dataclasses import dataclass
from typing import Any, Final

from bombyx.money.channel.identity import Channel
from bombyx.money.channel.payout import Owed
from gateway.channels.rows import CONFIG_COLUMNS, PAYOUT_PREFIX, channel_of_values
from gateway.metering.rows import WORKER_PREFIX

STATE_COLUMNS: Final = (
    "vouched",
    "deposited",
    "claimed",
    "ordered",
    "close_at",
    "live",
    "closed",
)
COLUMNS: Final = ("owner", "network", *CONFIG_COLUMNS, *STATE_COLUMNS)
_CONFIG_AT: Final = 2
_STATE_AT: Final = _CONFIG_AT + len(CONFIG_COLUMNS)

UNEVEN_PAYOUTS: Final = """
SELECT p.id FROM payout_channel p LEFT JOIN account a ON a.id = 'payout:' || p.id
WHERE COALESCE(a.posted, 0) <> p.vouched - p.claimed ORDER BY p.id
"""
"""Each payout channel's ledger account holds what is vouched and not claimed."""


@dataclass(frozen=True, slots=True)
class StoredPayout:
    """A channel that pays `owner`, in nano since it opened; `close_at` is unix seconds or 0.

    `vouched` is what may be signed, `ordered` what our wallet was told to deposit in all. New
    vouchers are of a `live` channel; `closed` says that it is a tombstone.
    """

    owner: str
    channel: Channel
    vouched: int = 0
    deposited: int = 0
    claimed: int = 0
    ordered: int = 0
    close_at: int = 0
    live: bool = True
    closed: bool = False

    @property
    def id(self) -> str:
        """Its address as rows name it."""
        return self.channel.account.hex()

    def owed(self, unpaid: int, *, in_flight: int = 0) -> Owed:
        """The rules' books; `unpaid` is what the owner's ledger account holds."""
        return Owed(
            billed=self.vouched + unpaid,
            vouched=self.vouched,
            deposited=self.deposited,
            in_flight=in_flight,
        )


def owner_account(owner: str) -> str:
    """The ledger account of what an owner earned and no voucher names."""
    return WORKER_PREFIX + owner


def payout_account(channel_id: str) -> str:
    """The ledger account of what vouchers name and the chain has not paid."""
    return PAYOUT_PREFIX + channel_id


def stored_payout(values: Any) -> StoredPayout:
    """Read `COLUMNS`."""
    owner, network = values[:_CONFIG_AT]
    channel = channel_of_values(network, values[_CONFIG_AT:_STATE_AT])
    vouched, deposited, claimed, ordered, close_at, live, closed = values[_STATE_AT:]
    return StoredPayout(
        owner,
        channel,
        vouched=vouched,
        deposited=deposited,
        claimed=claimed,
        ordered=ordered,
        close_at=close_at,
        live=bool(live),
        closed=bool(closed),
    )
