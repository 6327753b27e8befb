"""The money of `bombyx demo`: a channel from its opening to its last nano, and who had what."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bombyx.cli.channel.shown import gram
from bombyx.cli.network.accounts import Fees, Snapshot, fees_between, snapshot
from bombyx.cli.network.chain import Chain
from bombyx.cli.network.network import Network
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
    channel: str
    """The account in hex."""
    addresses: dict[str, str]
    before: Snapshot
    claimed_before: int


def begin(network: Network, say: Say) -> Paying | None:
    """Open a channel, where there is a chain; raises `SetupError`."""
    chain, payer = network.chain, network.payer
    if chain is None or payer is None:
        return None
    left = payer.left_open()
    before = _before(network, chain, payer, left)
    opened = payer.channel("open", "--gateway", network.gateway) if left is None else left
    say(f"contract {opened['address']} on this machine's devnet (real TVM, mainnet's prices)")
    say(f"the client's wallet deposited {gram(int(opened['deposited_nano']))} in it")
    channel = str(opened["channel"])
    addresses = _addresses(network, payer, channel)
    claimed = 0 if left is None else int(_view(network, channel)["claimed_nano"])
    return Paying(network, chain, payer, channel, addresses, before, claimed)


def _addresses(network: Network, payer: Payer, channel: str) -> dict[str, str]:
    named = {"client": payer.address, "gateway": network.books.wallet()}
    return named | {"channel": f"0:{channel}"}


def _before(network: Network, chain: Chain, payer: Payer, left: dict[str, Any] | None) -> Snapshot:
    if left is not None:
        return snapshot(chain, _addresses(network, payer, str(left["channel"])))
    named = {"client": payer.address, "gateway": network.books.wallet()}
    seen = snapshot(chain, named)
    return Snapshot(seen.accounts | {"channel": 0}, seen.fees)


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


def payout(entries: Sequence[dict[str, str]], say: Say) -> dict[str, str]:
    """What the worker got for the request, and how."""
    earned = [entry for entry in entries if entry["kind"] == "earning"]
    amount = str(sum(int(entry["amount_nano"]) for entry in earned))
    account = earned[0]["account"] if earned else ""
    say(f"{account} earned {amount} nano, in the gateway's ledger")
    return {"by": "ledger", "account": account, "amount_nano": amount}


def end(paying: Paying, say: Say) -> dict[str, Any]:
    """Close the channel as both sign, and hold all balances against each other.

    The sidecar, which holds the channel, has ended. Raises `BombyxError` where a nano is missing.
    """
    network, channel = paying.network, paying.channel
    ended = paying.payer.channel("close", channel, "--mnemonic-file", str(paying.payer.words))
    _until(lambda: _view(network, channel)["state"] == "closed", "closed")
    view, books = _view(network, channel), paying.payer.books_of(channel)
    claimed = int(ended["claimed_nano"])
    if not claimed == int(view["charged_nano"]) == int(view["claimed_nano"]):
        raise BombyxError(f"the channel paid {claimed} nano; charged were {view['charged_nano']}")
    if claimed != int(books["proven_nano"]):
        raise BombyxError(f"receipts prove {books['proven_nano']} nano, the channel paid {claimed}")
    after = snapshot(paying.chain, paying.addresses)
    fees = fees_between(paying.before, after, paid=claimed - paying.claimed_before)
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
            "before": paying.before.document(),
            "after": after.document(),
            "fees": fees.document(),
        },
        "table": balances_table(paying.before, after, fees),
    }


def balances_table(before: Snapshot, after: Snapshot, fees: Fees) -> Table:
    """Who had what: for people."""
    table = Table("account", "before", "after", "change")
    for name, amount in before.accounts.items():
        now = after.accounts[name]
        table.add_row(name, str(amount), str(now), f"{now - amount:+d}")
    table.add_row("fees of the client", "", "", f"{fees.client:+d}")
    table.add_row("fees of the gateway", "", "", f"{fees.gateway:+d}")
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
