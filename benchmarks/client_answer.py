"""CPU of opening one whole answer at the client: salt, head, one frame, receipt, end (SPEC 3.9).

The receipt's signature, path and arithmetic are verified, and the statement's hash is that of the
end frame; what is left out is the comparison with the request's fields.
"""

import hashlib
import os
import statistics
import time

from bombyx import canonical
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.opener import EndOpened, ResponseOpener, UsageSeen
from bombyx.envelope.response import Padding, ResponseSealer
from bombyx.money.cost import Rates, Tokens
from bombyx.money.offer import Prices
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Status, statement_hash
from bombyx.signing import Role, Signer
from worker.ledger.scribe import Matter, Point, Scribe

REPEATS = 300
BODY = os.urandom(2048)
H, SALT, SECRET, WORKER = b"\1" * 32, b"\2" * 32, b"\3" * 32, "w"


def measure() -> list[dict[str, object]]:
    """Medians in microseconds."""
    signer = Signer(Role.RECEIPT, os.urandom(32))
    wire = _sealed(signer)
    times = []
    for _ in range(REPEATS):
        start = time.process_time_ns()
        _open(wire, signer.public_key)
        times.append(time.process_time_ns() - start)
    us = round(statistics.median(times) / 1000, 1)
    return [{"case": "client opens an answer, with receipt", "us_cpu": us, "unit": "request"}]


def _sealed(signer: Signer) -> bytes:
    sealer = ResponseSealer(SECRET, h=H, salt=SALT, padding=Padding.BUCKET)
    head = ResponseHead(status=200, headers=[("content-type", "application/json")])
    frames = SALT + sealer.head(head) + sealer.data(BODY)
    digest, length = sealer.fix()
    scribe = Scribe(boot="0" * 32, gateway="0" * 64, signer=signer)
    scribe.write(_matter(), Point(0, Status.FINAL, Tokens(1000, 0, 500, 0), digest, length, 1))
    (receipt,) = scribe.flush()
    usage = sealer.usage(canonical.encode(receipt))
    return frames + usage + sealer.end(statement_hash(receipt.statement))


def _matter() -> Matter:
    zero = hashlib.sha256(b"").hexdigest()
    prices = Prices(prompt="20000000", cached="5000000", completion="60000000", reasoning="1")
    return Matter(
        c=zero, h=zero, id="0" * 32, tier="sealed", payer=zero, worker=zero, model="bench",
        weights=zero, engine=zero, offer=zero, prices=prices, rates=Rates.of(prices), fee_bps=500,
        max_cost=10**12, req_ct_hash=zero, ticket="00" * 256,
    )  # fmt: skip


def _open(wire: bytes, receipt_key: bytes) -> None:
    opener = ResponseOpener(H, {WORKER: SECRET})
    named = None
    for opened in opener.feed(wire):
        if isinstance(opened, UsageSeen):
            receipt = canonical.decode(opened.receipt, Receipt)
            verify_receipt(receipt, receipt_key)
            named = statement_hash(receipt.statement).hex()
        elif isinstance(opened, EndOpened) and opened.end.statement != named:
            raise SystemExit("the answer does not hold")
    opener.finish()
