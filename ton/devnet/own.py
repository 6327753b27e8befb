"""What no public chain has: a faucet, a clock that can be put forward, and going back."""

from collections.abc import Callable
from typing import Any, Final

from ton.codec.cells import raw
from ton.devnet.arguments import MAX_INT, Arguments
from ton.devnet.chain import MAX_FAUCET, Devnet, Sent
from ton.devnet.clock import MAX_TIME
from ton.devnet.phases import b64

DEFAULT_FAUCET: Final = 100 * 10**9
"""Nano: a hundred GRAM."""


def status(devnet: Devnet, _: Arguments) -> dict[str, Any]:
    """`GET status`: network, time, height, and all the money there is."""
    minted, fees, balances = devnet.supply()
    return {
        "network": devnet.network,
        "now": devnet.now(),
        "clock_offset": devnet.clock.offset,
        "seqno": devnet.log.head().seqno,
        "minted_nano": str(minted),
        "fees_nano": str(fees),
        "balances_nano": str(balances),
    }


def faucet(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`POST faucet`: `amount_nano` (a string) for `address`."""
    address = arguments.address()
    amount = arguments.number("amount_nano", DEFAULT_FAUCET, low=1, high=MAX_FAUCET)
    sent = devnet.give(address, amount)
    balance = devnet.account(raw(address)).balance
    return {**_sent(sent), "amount_nano": str(amount), "balance_nano": str(balance)}


def _sent(sent: Sent) -> dict[str, Any]:
    return {"message_hash": b64(sent.hash), "seqno": sent.block.seqno, "now": sent.block.utime}


def clock(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`POST clock`: put the time forward by `advance` seconds."""
    now = devnet.advance(arguments.number("advance", low=0, high=MAX_TIME))
    return {"now": now, "clock_offset": devnet.clock.offset}


def rollback(devnet: Devnet, arguments: Arguments) -> dict[str, Any]:
    """`POST rollback`: undo every block after `seqno`."""
    head = devnet.back_to(arguments.number("seqno", high=MAX_INT))
    return {"seqno": head.seqno, "now": devnet.now()}


Method = Callable[[Devnet, Arguments], Any]

GETS: Final[dict[str, Method]] = {"status": status}
POSTS: Final[dict[str, Method]] = {"faucet": faucet, "clock": clock, "rollback": rollback}
