"""The money of `bombyx demo`: a channel from its opening to its last nano, and who had what."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bombyx.cli.channel.shown import gram
from bombyx.cli.network.accounts import Fees, Snapshot, fees_between, snapshot
from bombyx.cli.network.chain import Chain
from bombyx.cli.network.network import Network
from bombyx.cli.network.owner import Owner, vouched
from bombyx.cli.network.payer import Payer
from bombyx.errors import BombyxError, RemoteError
from bombyx.money.statement import Statement

CLAIMED_SECONDS = 20.0
"""The gateway looks at its wallet and its channels once a second, and needs two looks."""
_POLL_SECONDS = 0.1
_CLAIM = "claim"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Paying:
    """A channel while the demo runs."""

    network: Network
    chain: Chain
    payer: Payer
    owner: Owner
    channel: str
    """The account in hex."""
    addresses: dict[str, str]
    """Of all whose money is looked at, but of a payout channel that is not there yet."""
    before: Snapshot
    claimed_before: int
    vouched_before: int
    """By the gateway, to the workers' owner."""


def begin(network: Network, say: Say) -> Paying | None:
    """Open a channel, where there is a chain; raises `SetupError`."""
    chain, payer, owner = network.chain, network.payer, network.owner
    if chain is None or payer is None or owner is None:
        return None
    left = payer.left_open()
    if left is not None and not payer.is_registered(str(left["channel"])):
        # Before anything is counted: to finish its opening may move money.
        left = payer.channel("open", "--gateway", network.gateway)
    known = _addresses(network, payer, owner)
    if left is not None:
        known["channel"] = f"0:{left['channel']}"
    before = snapshot(chain, known)
    opened = payer.channel("open", "--gateway", network.gateway) if left is None else left
    say(f"contract {opened['address']} on this machine's devnet (real TVM, mainnet's prices)")
    say(f"the client's wallet deposited {gram(int(opened['deposited_nano']))} in it")
    channel = str(opened["channel"])
    known["channel"] = f"0:{channel}"
    claimed = 0 if left is None else int(_view(network, channel)["claimed_nano"])
    vouched_before = vouched(owner.held(network.gateway_key))
    return Paying(network, chain, payer, owner, channel, known, before, claimed, vouched_before)


def _addresses(network: Network, payer: Payer, owner: Owner) -> dict[str, str]:
    named = {
        "client": payer.address,
        "gateway": network.books.wallet(),
        "owner": owner.wallet,
    }
    paying = owner.held(network.gateway_key)
    if paying is not None:
        named["payout"] = f"0:{paying.payout_channel.channel}"
    return named


def voucher_of(paying: Paying, statement: Statement, say: Say) -> dict[str, str]:
    """What the client signed for this answer, and what it was charged by its receipt."""
    signed = int(paying.payer.books_of(paying.channel)["signed_nano"])
    charged = int(statement.charge_nano)
    if signed < charged:
        raise BombyxError(f"{charged} nano were charged, and a voucher names {signed}")
    say(f"the voucher that went with it: the gateway may claim up to {signed} nano in all")
    return {"amount_nano": str(signed)}


def claim(paying: Paying, say: Say) -> dict[str, Any]:
    """Have the gateway claim what was charged; the transaction."""
    network, channel = paying.network, paying.channel
    charged = int(_view(network, channel)["charged_nano"])
    network.books.claim(channel)
    _until(lambda: int(_view(network, channel)["claimed_nano"]) == charged, "claimed")
    events = paying.payer.channel("history", channel)["events"]
    event = [one for one in events if one["kind"] == _CLAIM][-1]
    if not event["succeeded"] or int(event["claimed_nano"]) != charged:
        raise BombyxError(f"the claim paid {event['claimed_nano']} nano in place of {charged}")
    say(f"claimed {charged} nano: transaction {event['hash']}")
    say(f"{event['gas_used']} gas; by itself a gateway waits until a claim brings 100 x its cost")
    return {
        "tx": event["hash"],
        "gas_used": event["gas_used"],
        "exit_code": event["exit_code"],
        "amount_nano": str(charged),
    }


def end(paying: Paying, payout: dict[str, str], say: Say) -> dict[str, Any]:
    """Close the channel as both sign, and hold all balances against each other.

    The sidecar, which holds the channel, has ended; `payout` says what the owner got. Raises
    `BombyxError` where a nano is missing.
    """
    network, channel = paying.network, paying.channel
    # Named: an interrupted demo may have opened it when the gateway had another port.
    flags = ("--gateway", network.gateway, "--mnemonic-file", str(paying.payer.words))
    ended = paying.payer.channel("close", channel, *flags)
    _until(lambda: _view(network, channel)["state"] == "closed", "closed")
    view, books = _view(network, channel), paying.payer.books_of(channel)
    claimed = int(ended["claimed_nano"])
    if not claimed == int(view["charged_nano"]) == int(view["claimed_nano"]):
        raise BombyxError(f"the channel paid {claimed} nano; charged were {view['charged_nano']}")
    if claimed != int(books["proven_nano"]):
        raise BombyxError(f"receipts prove {books['proven_nano']} nano, the channel paid {claimed}")
    after = snapshot(paying.chain, paying.addresses | {"payout": payout["address"]})
    before = paying.before.completed(after)
    fees = fees_between(
        before, after, paid=claimed - paying.claimed_before, earned=int(payout["paid_nano"])
    )
    say(f"the gateway got {claimed} nano in all, {gram(int(ended['refunded_nano']))} came back")
    return {
        "channel": {
            "address": f"0:{channel}",
            "network": view["network"],
            "state": view["state"],
            "deposited_nano": view["deposited_nano"],
            "claimed_nano": str(claimed),
            "refunded_nano": ended["refunded_nano"],
        },
        "balances": {
            "before": before.document(),
            "after": after.document(),
            "fees": fees.document(),
        },
        "table": balances_table(before, after, fees),
    }


def balances_table(before: Snapshot, after: Snapshot, fees: Fees) -> Table:
    """Who had what: for people."""
    table = Table("account", "before", "after", "change")
    for name, amount in before.accounts.items():
        now = after.accounts[name]
        table.add_row(name, str(amount), str(now), f"{now - amount:+d}")
    table.add_row("fees of the client", "", "", f"{fees.client:+d}")
    table.add_row("fees of the gateway", "", "", f"{fees.gateway:+d}")
    table.add_row("fees of the owner", "", "", f"{fees.owner:+d}")
    left = after.total - before.total + fees.total
    table.add_row("sum", "", "", str(left))
    return table


def _view(network: Network, channel: str) -> dict[str, Any]:
    for one in network.books.channels():
        if one["channel"] == channel:
            return one
    raise RemoteError("the gateway does not know the channel")


def _until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + CLAIMED_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise RemoteError(f"the channel is not {what} after {CLAIMED_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)
