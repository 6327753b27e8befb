"""A channel as it is shown: to programs in nano as text, to people in GRAM."""

from pathlib import Path
from typing import Any

import msgspec

from bombyx.client.channel.chain_port import Looked
from bombyx.client.channel.records import ChannelRecord
from bombyx.client.channel.store import read_purse, read_record
from bombyx.client.channel.wallet import Broken
from bombyx.money.channel.documents import ChannelView
from bombyx.money.channel.spending import Purse

_NANO = 10**9


def gram(nano: int) -> str:
    """An amount for people, exact."""
    whole, rest = divmod(nano, _NANO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") + " GRAM"


def state_of(purse: Purse, looked: Looked | None, *, is_closed: bool = False) -> str:
    """One word: `new`, `open`, `halted`, `closing` or `closed`."""
    if is_closed or (looked is not None and looked.closed):
        return "closed"
    if purse.closing or (looked is not None and looked.close_at):
        return "closing"
    if purse.alarm:
        return "halted"
    return "open" if purse.deposited else "new"


def document(
    record: ChannelRecord,
    purse: Purse,
    looked: Looked | None = None,
    view: ChannelView | None = None,
    *,
    is_closed: bool = False,
) -> dict[str, Any]:
    """For programs; `chain` and `gateway_books` are null where nobody was asked.

    `is_closed` where the disk knows that it has ended.
    """
    return {
        "channel": record.registration.channel,
        "address": f"0:{record.registration.channel}",
        "network": record.registration.network,
        "state": state_of(purse, looked, is_closed=is_closed),
        "gateway": record.origin,
        "deposited_nano": str(purse.deposited),
        "topping_up_nano": str(purse.topping_up),
        "proven_nano": str(purse.proven),
        "signed_nano": str(purse.signed_max),
        "at_risk_nano": str(purse.at_risk),
        "spent_today_nano": str(purse.spent_today),
        "in_flight": len(purse.inflight),
        "lapsed": len(purse.lapsed),
        "alarm": purse.alarm,
        "chain": None if looked is None else _chain(looked),
        "gateway_books": None if view is None else msgspec.to_builtins(view),
    }


def _chain(looked: Looked) -> dict[str, Any]:
    return {
        "deposited_nano": str(looked.deposited),
        "claimed_nano": str(looked.claimed),
        "close_at": looked.close_at,
        "closed": looked.closed,
    }


def broken(one: Broken) -> dict[str, Any]:
    """For programs: a channel that cannot be read."""
    return {"channel": one.folder.name, "why": one.error.message}


def read(folder: Path) -> tuple[ChannelRecord, Purse]:
    """A channel without taking it."""
    record = read_record(folder)
    return record, read_purse(folder, record)


def lines(shown: dict[str, Any]) -> list[str]:
    """For people."""
    amounts = ("deposited", "proven", "at_risk")
    deposited, spent, at_risk = (gram(int(shown[f"{name}_nano"])) for name in amounts)
    told = [
        f"{shown['address']}  {shown['state']}  {shown['gateway']}",
        f"  deposited {deposited}, spent {spent}, at risk {at_risk}, {shown['in_flight']} running",
    ]
    if shown["chain"] is not None:
        told.append(
            f"  on chain: {gram(int(shown['chain']['deposited_nano']))} deposited, "
            f"{gram(int(shown['chain']['claimed_nano']))} claimed"
        )
    if shown["alarm"]:
        told.append(
            f"  HALTED: its gateway lied ({shown['alarm']}). Nothing more is signed. Take the rest "
            f"back: bombyx channel close {shown['channel'][:16]} --alone"
        )
    return told
