"""A channel as the database has it, and the ledger's names for it."""

from dataclasses import dataclass
from typing import Any

from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.identity import Channel, ChannelConfig
from bombyx.money.channel.terms import Ceiling

CHANNEL_PREFIX = "channel:"
"""Ledger account of a channel: the prefix and the 64 hex digits of its address."""
PAYOUT_PREFIX = "payout:"
"""Ledger account of a payout channel, likewise."""
CHAIN_PREFIX = "chain:"
"""Ledger account of a network, where deposits come from: the prefix and its global id."""

STATE_COLUMNS = (
    "deposited",
    "charged",
    "reserved",
    "ceiling",
    "ceiling_seqno",
    "ceiling_signature",
    "claimed",
    "closing",
    "close_at",
    "terms_until",
    "ending",
    "closed",
    "halted",
)
CONFIG_COLUMNS = ("client", "gateway", "client_key", "gateway_key", "challenge_period", "salt")


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """A channel, the account that uses it, and how it stands; `created_at` is unix ms."""

    owner: str
    channel: Channel
    row: ChannelRow
    created_at: int

    @property
    def id(self) -> str:
        """Its address as rows and URLs name it."""
        return self.channel.account.hex()


def channel_account(channel_id: str) -> str:
    """The ledger account that pays what this channel pays."""
    return CHANNEL_PREFIX + channel_id


def chain_account(network: int) -> str:
    """The ledger account of a network."""
    return f"{CHAIN_PREFIX}{network}"


def state_of_values(values: Any) -> ChannelRow:
    """Read `STATE_COLUMNS`; raises `ChannelBooks` for a row that contradicts itself."""
    deposited, charged, reserved, ceiling, seqno, signature, *rest = values
    claimed, closing, close_at, terms_until, ending, closed, halted = rest
    return ChannelRow(
        deposited=deposited,
        charged=charged,
        reserved=reserved,
        ceiling=Ceiling(ceiling, seqno, signature or b""),
        claimed=claimed,
        closing=bool(closing),
        close_at=close_at,
        terms_until=terms_until,
        ending=bool(ending),
        closed=bool(closed),
        halted=bool(halted),
    )


def state_values(row: ChannelRow) -> dict[str, Any]:
    """`STATE_COLUMNS` and their values."""
    held = row.ceiling
    return {
        "deposited": row.deposited,
        "charged": row.charged,
        "reserved": row.reserved,
        "ceiling": held.amount,
        "ceiling_seqno": held.seqno,
        "ceiling_signature": held.signature or None,
        "claimed": row.claimed,
        "closing": row.closing,
        "close_at": row.close_at,
        "terms_until": row.terms_until,
        "ending": row.ending,
        "closed": row.closed,
        "halted": row.halted,
    }


def config_values(config: ChannelConfig) -> dict[str, Any]:
    """`CONFIG_COLUMNS` and their values."""
    return {
        "client": config.client,
        "gateway": config.gateway,
        "client_key": config.client_key,
        "gateway_key": config.gateway_key,
        "challenge_period": config.challenge_period,
        "salt": str(config.salt),
    }


def channel_of_values(network: int, values: Any) -> Channel:
    """Read `CONFIG_COLUMNS`."""
    client, gateway, client_key, gateway_key, period, salt = values
    config = ChannelConfig(client, gateway, client_key, gateway_key, period, int(salt))
    return Channel(network, config)
