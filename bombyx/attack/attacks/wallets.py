"""A gateway that takes vouchers over HTTP, in front of a whole client with a channel (SPEC 7).

Directory and workers are a real network's; of the requests nothing is passed on.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bombyx import canonical
from bombyx.attack.defence import Defence
from bombyx.attack.means.parties import Parties
from bombyx.attack.means.relay import Answer, Pass, Relay, relaying, stream_reply
from bombyx.attack.means.requests import Forger, Reply
from bombyx.attack.means.simulator import unix
from bombyx.attack.means.till import CAPS, DISK_SECONDS, ORIGIN, lay_down, refusal
from bombyx.attack.means.victim import Victim
from bombyx.attack.record import Role, Seen, attack, judged
from bombyx.attack.target import Need, Target
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.wallet import Wallet
from bombyx.client.identity import Identity
from bombyx.envelope.request import parse_request
from bombyx.money.channel.spending import AHEAD, topped_up
from bombyx.money.channel.terms import Voucher, check_offered

PLENTY = 10**12
MANY = 20
"""Five times what the first voucher covers."""
_JSON = {"content-type": "application/json"}


@dataclasses.dataclass(frozen=True, slots=True)
class Purse:
    """A client of the library with a channel."""

    parties: Parties
    victim: Victim
    payer: Payer

    async def drained(self, relay: Relay) -> Seen:
        """How much can be claimed beyond receipts, of a client that asks again and again."""
        told = {str(await self.victim.ask(relay.url))}
        # From here on nothing more may be at risk than its first voucher.
        books = self.payer.purse
        costs = [one.cost for one in (*books.inflight.values(), *books.lapsed.values())]
        most = AHEAD * max(costs, default=0)
        self.payer.caps = dataclasses.replace(self.payer.caps, max_inflight=most)
        for number in range(MANY):
            told.add(str(await self.victim.ask(relay.url, f"say: {number}")))
        held = (canonical.decode(one, Voucher) for one in relay.vouchers)
        amounts = [check_offered(one, self.parties.channel).amount for one in held]
        if not amounts:
            raise ValueError(f"the client does not pay by channel: {sorted(told)}")
        # No receipt is ever shown.
        beyond = max(amounts)
        return judged(beyond > most, f"{beyond} of {most} nano beyond receipts; {sorted(told)}")


@contextlib.asynccontextmanager
async def purse(target: Target) -> AsyncIterator[Purse]:
    """A client with a channel to the target's gateway, of which only the client knows."""
    parties, identity = Parties(), Identity(os.urandom(32), os.urandom(32))
    gateway = (await Forger(target).directory()).gateway
    key = identity.payer(gateway, f"Bearer {target.api_key}").public_hex
    with tempfile.TemporaryDirectory(prefix="bombyx-purse-") as folder:
        root = Path(folder) / "channels"
        lay_down(root, parties, identity=gateway, payer=key)
        caps = dataclasses.replace(CAPS, max_inflight=PLENTY, max_daily=PLENTY)
        wallet = Wallet(root, caps, clock=unix)
        (payer,) = wallet.open_for(ORIGIN)
        filled = payer.change(lambda books: topped_up(books, PLENTY))
        filled.done.result(DISK_SECONDS)
        try:
            yield Purse(parties, Victim(target, identity=identity, wallet=wallet), payer)
        finally:
            wallet.close()


async def _drained(target: Target, answer: Answer) -> Seen:
    async with purse(target) as own, relaying(target, answer=answer) as relay:
        return await own.drained(relay)


@attack(
    Role.GATEWAY, Defence.OWN_BOOKS, "inflight_cap: nothing more is sent without receipts",
    Need.GATEWAY, Need.LIBRARY,
)  # fmt: skip
async def answers_broken_off_for_vouchers(target: Target) -> Seen:
    """Breaks off every answer of a paying client, and keeps the vouchers."""

    async def answer(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - nobody is asked
        return stream_reply(os.urandom(64))

    return await _drained(target, answer)


@attack(
    Role.GATEWAY, Defence.OWN_BOOKS, "what is signed stays within proven + max_inflight",
    Need.GATEWAY, Need.LIBRARY,
)  # fmt: skip
async def paying_client_turned_away(target: Target) -> Seen:
    """Turns a paying client away with 503 each time, and runs what it asked."""

    async def answer(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - nobody is asked
        return Reply(503, dict(_JSON), b'{"error":{"message":"busy","code":"busy"}}')

    return await _drained(target, answer)


@attack(
    Role.GATEWAY, Defence.OWN_BOOKS, "payment_refused: the books decide what is signed",
    Need.GATEWAY, Need.LIBRARY,
)  # fmt: skip
async def voucher_refused_for_a_higher_one(target: Target) -> Seen:
    """Answers each voucher of a paying client with a 402 over ever larger reserves."""
    async with purse(target) as own:
        parties = own.parties

        async def answer(request: bytes, forward: Pass) -> Reply:  # noqa: ARG001 - as above
            cost = int(parse_request(request)[0].header.header.max_cost_nano)
            row = parties.row(deposited=PLENTY)
            told = {"reserved": str(PLENTY - cost), "need": str(PLENTY)}
            status, pieces = refusal(parties.terms(row, cost, **told))
            return Reply(status, dict(_JSON), b"".join(pieces))

        async with relaying(target, answer=answer) as relay:
            return await own.drained(relay)
