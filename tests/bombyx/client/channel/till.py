"""A gateway's till in front of the test peer: it takes vouchers by the rules, or it lies."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

from bombyx import canonical
from bombyx.envelope.request import parse_request
from bombyx.errors import BombyxError, envelope
from bombyx.money.channel.acceptance import ChannelRow, reserve, settle
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.terms import (
    Ceiling,
    PaymentTerms,
    Voucher,
    check_offered,
)
from tests.bombyx.client.peer import Peer, Received, Reply, plain_error
from tests.bombyx.money.channel import parties

Lie = Callable[[PaymentTerms], PaymentTerms]


@dataclass
class Till:
    """The books of one channel; set as `peer.instead`.

    `lie` changes the terms of a 402, `refuse` makes up a 402 for the next requests, `receipts` are
    documents that it shows when it is asked, by c.
    """

    row: ChannelRow = field(default_factory=lambda: ChannelRow(deposited=10_000_000))
    channel: Channel = parties.CHANNEL
    lie: Lie = lambda terms: terms
    refuse: list[str] = field(default_factory=list)
    vouchers: list[Voucher] = field(default_factory=list)
    receipts: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    registered: int = 0
    deposit_seen: int = 0
    """What a look at the chain shows."""
    silent: bool = False
    """Its 402 is without terms."""

    def __call__(self, peer: Peer, received: Received) -> Reply | None:
        if received.path == "/v1/receipts":
            return self._receipt(parse_qs(received.query)["c"][0])
        if received.path == "/v1/channels":
            self.registered += 1
            row = self.row
            self.row = dataclasses.replace(row, deposited=max(row.deposited, self.deposit_seen))
            return Reply(200, "application/json", [b"{}"])
        if received.path != "/v1/chat/completions":
            return None
        return self._pay(received)

    def _receipt(self, c: str) -> Reply:
        self.asked.append(c)
        if c not in self.receipts:
            return plain_error(404, "not_found")
        document = {"c": c, "state": "settled", "receipt": msgspec.Raw(self.receipts[c])}
        return Reply(200, "application/json", [msgspec.json.encode(document)])

    def _pay(self, received: Received) -> Reply | None:
        head = parse_request(received.body)[0]
        header = head.header.header
        assert header.channel == f"tvm:{self.channel.network}:{self.channel.account.hex()}"
        cost = int(header.max_cost_nano)
        try:
            offered = self._offered(received)
            if self.refuse:
                error = BombyxError("refused")
                error.code = self.refuse.pop(0)  # type: ignore[misc]
                return self.refusal(error, cost)
            self.row = reserve(self.row, cost, offered=offered)
        except BombyxError as error:
            return self.refusal(error, cost)
        return None

    def _offered(self, received: Received) -> Ceiling | None:
        text = received.headers.get("x-bombyx-voucher")
        if text is None:
            return None
        voucher = canonical.decode(text.encode(), Voucher)
        self.vouchers.append(voucher)
        return check_offered(voucher, self.channel)

    def refusal(self, error: BombyxError, cost: int) -> Reply:
        """The 402 of SPEC 7.8."""
        document: dict[str, Any] = dict(envelope(error))
        if not self.silent:
            terms = self.lie(parties.terms(self.row, cost, error.code))
            document["payment"] = msgspec.Raw(canonical.encode(terms))
        headers = {"x-should-retry": "false"}
        return Reply(402, "application/json", [msgspec.json.encode(document)], headers)

    def settle(self, cost: int, charge: int) -> None:
        """A request ended."""
        self.row = settle(self.row, cost, charge=charge)

    @property
    def highest(self) -> int:
        """The most that was ever signed, as far as this till saw."""
        return max((int(one.amount) for one in self.vouchers), default=0)
