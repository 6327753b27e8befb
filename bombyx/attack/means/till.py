"""A lying till in front of a client that pays by channel: the library's own payer and disk.

The till answers what an attack wants and writes down every voucher that it gets. The client's side
is `post_paid` as a session runs it; only that request and answer are no HTTP here.
"""

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bombyx import canonical
from bombyx.attack.means.parties import COST, Parties
from bombyx.attack.means.simulator import unix
from bombyx.chat.paths import CHAT_PATH
from bombyx.client.channel.payer import HEADER, Payer
from bombyx.client.channel.paying import post_paid
from bombyx.client.channel.records import record_of
from bombyx.client.channel.store import ChannelStore, create_channel
from bombyx.client.effects import ClearRequest, Effect, Head, Pause, Reply, Send, Wait, send
from bombyx.client.receipts import Sealed
from bombyx.client.refusals import GatewayError
from bombyx.envelope.header import Candidate, Header, hash_header
from bombyx.envelope.request import SealedRequest
from bombyx.errors import BombyxError
from bombyx.money.channel.spending import Caps, topped_up
from bombyx.money.channel.terms import PaymentTerms, Voucher, check_offered
from bombyx.money.offer import Prices
from bombyx.money.statement import GENESIS, Statement, Status, TokenCounts

ORIGIN = "http://till.attack"
CAP = 10 * COST
CAPS = Caps(max_inflight=CAP, max_daily=10**9, max_deposit=10**9, min_top_up=1)
DEPOSITED = 10**6
DISK_SECONDS = 20.0
PAYMENT_REQUIRED = 402
_JSON = (("content-type", "application/json"),)

Answer = tuple[int, list[bytes]]
"""Status and the pieces of a body."""
Rule = Callable[["Till", Sealed], Answer]


def refusal(terms: PaymentTerms) -> Answer:
    """A 402 with these terms."""
    error = {"message": "refused", "type": "insufficient_quota", "code": terms.error, "param": None}
    document = {"error": error, "payment": msgspec.Raw(canonical.encode(terms))}
    return PAYMENT_REQUIRED, [msgspec.json.encode(document)]


@dataclass(slots=True, repr=False)
class Till:
    """A gateway's till, its client and what it took."""

    parties: Parties
    payer: Payer
    rule: Rule
    vouchers: list[int] = field(default_factory=list)
    sendings: Counter[bytes] = field(default_factory=Counter)
    shown: int = 0
    """Nano of the receipts that it made."""
    read: int = 0
    """Bytes of bodies that the client took."""

    @property
    def highest(self) -> int:
        """What it could claim."""
        return max(self.vouchers, default=0)

    @property
    def beyond(self) -> int:
        """What it could claim beyond the receipts that it has shown."""
        return self.highest - self.shown

    def sealed(self, cost: int = COST) -> Sealed:
        """A request of the client, sealed to nobody: only its price matters here."""
        record = self.payer.store.record
        header = Header(
            v="bombyx/1",
            id=os.urandom(16).hex(),
            gateway=record.identity,
            method="POST",
            path=CHAT_PATH,
            model="attacked",
            stream=False,
            tier="sealed",
            payer=record.payer,
            issued_at=unix(),
            max_input_tokens=1,
            max_output_tokens=1,
            max_cost_nano=str(cost),
            fee_bps=0,
            candidates=[Candidate(worker="00" * 32, key_id="00" * 16, offer="00" * 32)],
            channel=self.payer.name,
        )
        request = SealedRequest(hash_header(header), os.urandom(32), bytes(64), (), b"", ())
        return Sealed(request, b"sealed", {}, stream=False, deadline=unix() + 1500)

    def ask(self, sealed: Sealed | None = None) -> str:
        """Let the client ask once: the code of what it came to, or the status of the answer."""
        sealed = sealed or self.sealed()
        request = ClearRequest("POST", ORIGIN, CHAT_PATH, "", (), b"")

        def post(voucher: tuple[tuple[str, str], ...]) -> Any:
            return send(Send("POST", ORIGIN + CHAT_PATH, voucher, sealed.encoded))

        steps = post_paid(self.payer, request, sealed, post, funder=None)
        pieces: list[bytes] = []
        reply: Reply = None
        try:
            while True:
                reply = self._done(steps.send(reply), sealed, pieces)
        except StopIteration as end:
            return str(end.value.status)
        except GatewayError as error:
            return str(error.status)
        except BombyxError as error:
            return error.code
        finally:
            self.payer.ended(sealed.request.c)

    def _done(self, effect: Effect, sealed: Sealed, pieces: list[bytes]) -> Reply:
        match effect:
            case Wait(event):
                event.result(DISK_SECONDS)
                return None
            case Pause():
                return None
            case Send():
                status, body = self._answered(effect, sealed)
                pieces[:] = body
                return Head(status, _JSON)
            case _:
                piece = pieces.pop(0) if pieces else b""
                self.read += len(piece)
                return piece

    def _answered(self, effect: Send, sealed: Sealed) -> Answer:
        if not effect.url.endswith(CHAT_PATH):
            return 404, [b"{}"]
        self.sendings[sealed.request.c] += 1
        for name, text in effect.headers:
            if name == HEADER:
                voucher = canonical.decode(text.encode(), Voucher)
                self.vouchers.append(check_offered(voucher, self.parties.channel).amount)
        return self.rule(self, sealed)

    def statement(self, sealed: Sealed, charge: int = COST, **changes: Any) -> Statement:
        """What a verified receipt of a request says, but for `changes`."""
        record, header = self.payer.store.record, sealed.request.header.header
        self.shown += charge
        zero = Prices(prompt="0", cached="0", completion="0", reasoning="0")
        honest = Statement(
            v="bombyx/1",
            c=sealed.request.c.hex(),
            h=sealed.request.header.h.hex(),
            id=header.id,
            tier="sealed",
            payer=record.payer,
            gateway=record.identity,
            worker="00" * 32,
            boot="00" * 16,
            n=0,
            seq=0,
            model=header.model,
            weights="00" * 32,
            engine="00" * 32,
            offer="00" * 32,
            prices=zero,
            tokens=TokenCounts(prompt=1, cached=0, completion=1, reasoning=0),
            amount_nano=str(charge),
            fee_bps=0,
            fee_nano="0",
            charge_nano=str(charge),
            req_ct_hash="00" * 32,
            resp_ct_hash="00" * 32,
            resp_ct_bytes=0,
            status=Status.FINAL,
            ticket="00",
            at=unix() * 1000,
            prev=GENESIS,
        )
        return msgspec.structs.replace(honest, **changes)


@contextlib.contextmanager
def till(rule: Rule, *, caps: Caps = CAPS) -> Iterator[Till]:
    """A till that follows `rule`, and a client with a channel to it in a folder of its own."""
    parties = Parties()
    with tempfile.TemporaryDirectory(prefix="bombyx-till-") as folder:
        place = lay_down(Path(folder) / "channels", parties)
        payer = Payer(ChannelStore(place), caps, clock=unix)
        payer.change(lambda purse: topped_up(purse, DEPOSITED)).done.result(DISK_SECONDS)
        try:
            yield Till(parties, payer, rule)
        finally:
            payer.close()


def lay_down(
    root: Path, parties: Parties, *, identity: str = "11" * 32, payer: str = "22" * 32
) -> Path:
    """A channel of the client's on disk; gives its folder."""
    record = record_of(
        parties.channel,
        parties.client,
        identity=identity,
        payer=payer,
        origin=ORIGIN,
        opened_at=unix(),
    )
    return create_channel(root, record, parties.seed)
