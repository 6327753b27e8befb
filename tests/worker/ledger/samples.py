"""A matter, points of it and receipts for tests of the ledger."""

import hashlib

from msgspec import UNSET, UnsetType

from bombyx import canonical
from bombyx.link.documents import Disposition
from bombyx.money.cost import Rates, Tokens
from bombyx.money.offer import Prices
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status, statement_hash
from bombyx.signing import Role, Signer
from worker.ledger.scribe import Matter, Point, Scribe

PRICES = Prices(prompt="1000000", cached="0", completion="2000000", reasoning="2000000")
SIGNER = Signer(Role.RECEIPT, b"\x01" * 32)
BOOT, GATEWAY, OTHER_GATEWAY = "0a" * 16, "0b" * 32, "0c" * 32
WORKER = "0d" * 32


def matter(number: int = 0, *, max_cost: int = 1000) -> Matter:
    name = hashlib.sha256(number.to_bytes(8)).hexdigest()
    return Matter(
        c=name,
        h=name,
        id=name[:32],
        tier="sealed",
        payer="01" * 32,
        worker=WORKER,
        model="m",
        weights="02" * 32,
        engine="03" * 32,
        offer="04" * 32,
        prices=PRICES,
        rates=Rates.of(PRICES),
        fee_bps=500,
        max_cost=max_cost,
        req_ct_hash="05" * 32,
        ticket="06" * 20,
    )


def point(status: Status = Status.FINAL, *, tokens: Tokens | None = None, seq: int = 0) -> Point:
    return Point(
        seq=seq,
        status=status,
        tokens=tokens or Tokens(prompt=10, completion=5),
        resp_ct_hash=b"\x07" * 32,
        resp_ct_bytes=100,
        at=1_800_000_000_000,
    )


def make_scribe(gateway: str = GATEWAY, boot: str = BOOT) -> Scribe:
    return Scribe(boot=boot, gateway=gateway, signer=SIGNER)


def make_receipt(scribe: Scribe, number: int = 0) -> Receipt:
    scribe.write(matter(number), point())
    (receipt,) = scribe.flush()
    return receipt


def document(receipt: Receipt) -> bytes:
    return canonical.encode(receipt)


def word(
    receipt: Receipt, disposition: str = "billed", *, winner: Receipt | UnsetType = UNSET
) -> Disposition:
    name = statement_hash(receipt.statement).hex()
    return Disposition(
        statement=name,
        disposition=disposition,  # type: ignore[arg-type]
        winner=winner,
    )
