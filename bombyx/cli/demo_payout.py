"""The worker's pay in `bombyx demo`: the gateway's voucher, and the owner's claim on chain."""

import time
from collections.abc import Sequence

from bombyx.cli.channel.shown import gram
from bombyx.cli.demo_channel import Paying, Say
from bombyx.cli.network.owner import vouched
from bombyx.errors import BombyxError, RemoteError
from bombyx.money.channel.payout_documents import HeldPayout

VOUCHER_SECONDS = 40.0
"""The gateway looks at its channels once a second and at what it owes every five."""
_POLL_SECONDS = 0.1


def pay(paying: Paying, entries: Sequence[dict[str, str]], say: Say) -> dict[str, str]:
    """Have the gateway pay the owner by channel, and the owner claim; raises `BombyxError`."""
    owner, network = paying.owner, paying.network
    earned = sum(int(entry["amount_nano"]) for entry in entries if entry["kind"] == "earning")
    network.books.pay_by_channel(owner.wallet)
    held = _voucher_of(paying, paying.vouched_before + earned)
    address = f"0:{held.payout_channel.channel}"
    say(f"contract {address}: the gateway deposits, the worker holds its vouchers")
    say(f"the worker earned {earned} nano; its voucher is good for {vouched(held)} in all")
    say("by itself a gateway opens one once it owes 0.05 GRAM, and until then its ledger does")
    claims = owner.claim(held.payout_channel.channel)["claims"]
    if not claims:
        raise BombyxError(f"the worker earned {earned} nano, and its owner found none to claim")
    (claim,) = claims
    if int(claim["paid_nano"]) < earned:
        raise BombyxError(f"the worker earned {earned} nano, its claim paid {claim['paid_nano']}")
    say(f"its owner claimed {gram(int(claim['paid_nano']))}: transaction {claim['tx']}")
    return {
        "by": "channel",
        "address": address,
        "wallet": owner.wallet,
        "amount_nano": str(earned),
        "voucher_nano": str(vouched(held)),
        **{name: claim[name] for name in ("paid_nano", "tx", "gas_used", "exit_code")},
    }


def _voucher_of(paying: Paying, least: int) -> HeldPayout:
    deadline = time.monotonic() + VOUCHER_SECONDS
    while True:
        held = paying.owner.held(paying.network.gateway_key)
        if held is not None and vouched(held) >= least:
            return held
        if time.monotonic() > deadline:
            raise RemoteError(f"no voucher came to the worker within {VOUCHER_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)
