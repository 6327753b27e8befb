"""Valid documents of every kind, made from fixed seeds; a test changes one field at a time.

`header(stream=False)` is a valid header but for what the test names. Amounts of a statement follow
from its tokens and prices unless the test sets them itself.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from bombyx import canonical
from bombyx.attestation.keyset import HpkeKey, Keyset, ModelRecord, keyset_digest
from bombyx.envelope.header import Candidate, HashedHeader, Header, hash_header
from bombyx.envelope.keys import PublicSealingKey, SealingKey, encode_public_key
from bombyx.envelope.plaintext import PlaintextHead
from bombyx.envelope.request import Entropy, SealedRequest, seal_request
from bombyx.link.documents import Refusal, SignedRefusal
from bombyx.money.batch import Batch, leaf_hash, root_and_paths
from bombyx.money.cost import Rates, price
from bombyx.money.offer import Offer, Prices, SignedOffer, offer_hash, sign_offer
from bombyx.money.receipt import Receipt
from bombyx.money.settlement import Attempt, Claim
from bombyx.money.statement import GENESIS, Statement, Status, TokenCounts, tokens_of
from bombyx.signing import Kind, Role, Signer
from bombyx.units import Nano

NOW = 1_800_000_000
"""Unix seconds of every document here."""
MODEL = "test-model-1b"
BODY = b'{"model":"test-model-1b","messages":[{"role":"user","content":"hi"}]}'
PRICES = Prices(prompt="200000", cached="50000", completion="800000", reasoning="900000")
FEE_BPS = 250
MAX_COST = Nano(20_000)
TICKET = b"ticket".hex()


def seed(label: str, size: int = 32) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(b"bombyx test " + label.encode()).digest(size)


def hex_of(label: str, size: int = 32) -> str:
    """The same, in hex."""
    return seed(label, size).hex()


GATEWAY = Signer(Role.GATEWAY, seed("gateway"))
PAYER = Signer(Role.PAYER, seed("payer"))


@dataclass(frozen=True, slots=True)
class WorkerKeys:
    """One worker boot: all its private keys and the keyset that names them."""

    sealing: SealingKey
    receipt: Signer
    link: Signer
    keyset: Keyset
    id: str

    @property
    def key_id(self) -> str:
        return self.keyset.hpke[0].id


def keyset(name: str, **changes: Any) -> Keyset:
    """The keyset of a worker called `name`."""
    sealing = SealingKey.from_seeds(seed(f"{name} mlkem", 64), seed(f"{name} x25519"))
    model = ModelRecord(
        id=MODEL,
        weights=hex_of("weights"),
        engine=hex_of("engine"),
        bytes_factor=1,
        overhead=64,
        max_image_tokens=0,
        context=4096,
    )
    document = Keyset(
        v="bombyx/1",
        hpke=[
            HpkeKey(
                id=hex_of(f"{name} hpke", 16),
                alg="mlkem768-x25519",
                pk=encode_public_key(sealing.public_bytes),
            )
        ],
        receipt_key=Signer(Role.RECEIPT, seed(f"{name} receipt")).public_hex,
        link_key=Signer(Role.LINK, seed(f"{name} link")).public_hex,
        not_after=NOW + 12 * 3600,
        boot=hex_of(f"{name} boot", 16),
        platform="simulated",
        models=[model],
        payout="0:" + hex_of(f"{name} payout"),
    )
    return msgspec.structs.replace(document, **changes)


@cache
def worker(name: str = "worker") -> WorkerKeys:
    """All keys of one worker."""
    document = keyset(name)
    return WorkerKeys(
        sealing=SealingKey.from_seeds(seed(f"{name} mlkem", 64), seed(f"{name} x25519")),
        receipt=Signer(Role.RECEIPT, seed(f"{name} receipt")),
        link=Signer(Role.LINK, seed(f"{name} link")),
        keyset=document,
        id=keyset_digest(document),
    )


def offer(by: WorkerKeys | None = None, **changes: Any) -> Offer:
    """What a worker asks."""
    document = Offer(
        v="bombyx/1",
        worker=(by or worker()).id,
        model=MODEL,
        prices=PRICES,
        valid_until=NOW + 3600,
        max_concurrency=8,
    )
    return msgspec.structs.replace(document, **changes)


def signed_offer(by: WorkerKeys | None = None, **changes: Any) -> SignedOffer:
    """The same, signed by its worker's link key."""
    keys = by or worker()
    return sign_offer(offer(keys, **changes), keys.link)


def candidate(of: WorkerKeys) -> Candidate:
    """A worker as a header names it."""
    return Candidate(worker=of.id, key_id=of.key_id, offer=offer_hash(offer(of)))


def header(workers: Sequence[WorkerKeys] | None = None, **changes: Any) -> Header:
    """A header for one worker, or for those given."""
    document = Header(
        v="bombyx/1",
        id=hex_of("request", 16),
        gateway=GATEWAY.public_hex,
        method="POST",
        path="/v1/chat/completions",
        model=MODEL,
        stream=True,
        tier="sealed",
        payer=PAYER.public_hex,
        issued_at=NOW,
        max_input_tokens=128,
        max_output_tokens=256,
        max_cost_nano=str(MAX_COST),
        fee_bps=FEE_BPS,
        candidates=[candidate(of) for of in workers or [worker()]],
    )
    return msgspec.structs.replace(document, **changes)


def hashed_header(workers: Sequence[WorkerKeys] | None = None, **changes: Any) -> HashedHeader:
    """The same with its bytes and hash."""
    return hash_header(header(workers, **changes))


def entropy(count: int = 1) -> Entropy:
    """Fixed randomness for a request to `count` candidates."""
    return Entropy(seed("dek"), tuple(seed(f"rs {number}") for number in range(count)))


def sealed_request(
    body: bytes = BODY, workers: Sequence[WorkerKeys] | None = None, **changes: Any
) -> SealedRequest:
    """A sealed request (the wraps differ from call to call: HPKE draws its own randomness)."""
    chosen = workers or [worker()]
    return seal_request(
        hashed_header(chosen, **changes),
        PlaintextHead(content_type="application/json", user_cache_secret=hex_of("cache")),
        body,
        keys=[PublicSealingKey.from_bytes(of.sealing.public_bytes) for of in chosen],
        payer=PAYER,
        entropy=entropy(len(chosen)),
    )


_AMOUNTS = ("amount_nano", "fee_nano", "charge_nano")


def statement(of: WorkerKeys | None = None, **changes: Any) -> Statement:
    """A final statement whose amounts follow from its tokens, unless set by the test."""
    keys = of or worker()
    document = Statement(
        v="bombyx/1",
        c=hex_of("c"),
        h=hashed_header().h.hex(),
        id=hex_of("request", 16),
        tier="sealed",
        payer=PAYER.public_hex,
        gateway=GATEWAY.public_hex,
        worker=keys.id,
        boot=keys.keyset.boot,
        n=0,
        seq=0,
        model=MODEL,
        weights=hex_of("weights"),
        engine=hex_of("engine"),
        offer=offer_hash(offer(keys)),
        prices=PRICES,
        tokens=TokenCounts(prompt=100, cached=64, completion=50, reasoning=10),
        amount_nano="0",
        fee_bps=FEE_BPS,
        fee_nano="0",
        charge_nano="0",
        req_ct_hash=hex_of("req"),
        resp_ct_hash=hex_of("resp"),
        resp_ct_bytes=4096,
        status=Status.FINAL,
        ticket=TICKET,
        at=NOW * 1000,
        prev=GENESIS,
    )
    document = msgspec.structs.replace(document, **changes)
    if any(name in changes for name in _AMOUNTS):
        return document
    return priced(document)


def priced(document: Statement) -> Statement:
    """The statement with the amounts that its tokens and prices lead to."""
    cost = price(tokens_of(document), Rates.of(document.prices), document.fee_bps)
    amounts = map(str, (cost.amount, cost.fee, cost.charge))
    return msgspec.structs.replace(document, **dict(zip(_AMOUNTS, amounts, strict=True)))


def receipts(statements: Sequence[Statement], by: Signer | None = None) -> list[Receipt]:
    """One signed batch of statements with consecutive `n`."""
    root, paths = root_and_paths([leaf_hash(canonical.encode(leaf)) for leaf in statements])
    first = statements[0]
    batch = Batch(
        boot=first.boot,
        gateway=first.gateway,
        root=root.hex(),
        count=len(statements),
        first_n=first.n,
    )
    signature = (by or worker().receipt).sign(Kind.BATCH, batch).hex()
    return [
        Receipt(
            statement=leaf, path=[node.hex() for node in path], batch=batch, signature=signature
        )
        for leaf, path in zip(statements, paths, strict=True)
    ]


def receipt(of: WorkerKeys | None = None, **changes: Any) -> Receipt:
    """One statement in a batch of its own."""
    keys = of or worker()
    return receipts([statement(keys, **changes)], keys.receipt)[0]


def attempt(of: WorkerKeys | None = None, **changes: Any) -> Attempt:
    """A dispatch of the request of `header()`."""
    keys = of or worker()
    document = Attempt(
        number=1,
        worker=keys.id,
        ticket=TICKET,
        offer=offer_hash(offer(keys)),
        prices=PRICES,
        weights=hex_of("weights"),
        engine=hex_of("engine"),
    )
    return msgspec.structs.replace(document, **changes)


def claim(**changes: Any) -> Claim:
    """The claim that `statement()` settles."""
    document = Claim(
        c=hex_of("c"),
        h=hashed_header().h.hex(),
        id=hex_of("request", 16),
        payer=PAYER.public_hex,
        gateway=GATEWAY.public_hex,
        tier="sealed",
        model=MODEL,
        fee_bps=FEE_BPS,
        reserve=MAX_COST,
        max_input_tokens=128,
        max_output_tokens=256,
        req_ct_hash=hex_of("req"),
        deadline_ms=(NOW + 1500) * 1000,
        attempts=(attempt(),),
    )
    return msgspec.structs.replace(document, **changes)


def refusal(of: WorkerKeys | None = None, **changes: Any) -> SignedRefusal:
    """A worker's signed refusal of the request of `statement()`."""
    keys = of or worker()
    document = Refusal(
        worker=keys.id,
        gateway=GATEWAY.public_hex,
        code="busy",
        fault="worker",
        at=NOW * 1000,
        c=hex_of("c"),
        h=hashed_header().h.hex(),
    )
    document = msgspec.structs.replace(document, **changes)
    signature = keys.receipt.sign(Kind.REFUSAL, document).hex()
    return SignedRefusal(refusal=document, signature=signature)
