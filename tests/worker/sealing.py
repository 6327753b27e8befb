"""A client for worker tests: seals real requests to a keyset and opens real answers."""

import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET

from bombyx import canonical
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.chat.body import encode_body
from bombyx.chat.size import max_input_bound
from bombyx.envelope.documents import ResponseHead
from bombyx.envelope.header import Candidate, Header, hash_header
from bombyx.envelope.keys import PublicSealingKey, decode_public_key
from bombyx.envelope.opener import (
    DataOpened,
    EndOpened,
    ErrorOpened,
    HeadOpened,
    ResponseOpener,
    UsageSeen,
)
from bombyx.envelope.plaintext import PlaintextHead
from bombyx.envelope.request import Entropy, SealedRequest, seal_request
from bombyx.link.open import Open, WrappedKey
from bombyx.money.cost import Rates, worst_case
from bombyx.money.offer import SignedOffer, offer_hash
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Statement, statement_hash
from bombyx.signing import Role, Signer

PAYER = Signer(Role.PAYER, b"\x07" * 32)
GATEWAY = Signer(Role.GATEWAY, b"\x08" * 32)
FEE_BPS = 500
DEADLINE_SECONDS = 1500


@dataclass(frozen=True)
class Listing:
    """What a client knows of a worker."""

    keyset: Keyset
    offers: list[SignedOffer]

    @property
    def worker(self) -> str:
        return keyset_digest(self.keyset)

    def offer(self, model: str) -> SignedOffer:
        return next(one for one in self.offers if one.offer.model == model)


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": "scripted",
        "stream": True,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


def make_header(listing: Listing, body: dict[str, Any], *, now: int, **changes: Any) -> Header:
    signed = listing.offer(body["model"])
    record = next(one for one in listing.keyset.models if one.id == body["model"])
    max_input = max_input_bound(
        body,
        bytes_factor=record.bytes_factor,
        overhead=record.overhead,
        max_image_tokens=record.max_image_tokens,
    )
    max_output = changes.pop("max_output_tokens", 256)
    rates = Rates.of(signed.offer.prices)
    cost = worst_case(max_input=max_input, max_output=max_output, rates=rates, fee_bps=FEE_BPS)
    candidate = Candidate(
        worker=listing.worker,
        key_id=listing.keyset.hpke[0].id,
        offer=offer_hash(signed.offer),
    )
    header = Header(
        v="bombyx/1",
        id=os.urandom(16).hex(),
        gateway=GATEWAY.public_hex,
        method="POST",
        path="/v1/chat/completions",
        model=body["model"],
        stream=bool(body.get("stream")),
        tier="sealed",
        payer=PAYER.public_hex,
        issued_at=now,
        max_input_tokens=max_input,
        max_output_tokens=max_output,
        max_cost_nano=str(cost.charge),
        fee_bps=FEE_BPS,
        candidates=[candidate],
    )
    return msgspec.structs.replace(header, **changes)


def seal(
    listing: Listing,
    body: dict[str, Any],
    *,
    now: int,
    raw: bytes | None = None,
    content_type: str = "application/json",
    cache_secret: str | None = None,
    **changes: Any,
) -> SealedRequest:
    header = make_header(listing, body, now=now, **changes)
    keys = [PublicSealingKey.from_bytes(decode_public_key(listing.keyset.hpke[0].pk))]
    entropy = Entropy(os.urandom(32), (os.urandom(32),))
    head = PlaintextHead(
        content_type=content_type,
        user_cache_secret=UNSET if cache_secret is None else cache_secret,
    )
    return seal_request(
        hash_header(header),
        head,
        encode_body(body) if raw is None else raw,
        keys=keys * len(header.candidates),
        payer=PAYER,
        entropy=replace(entropy, response_secrets=(os.urandom(32),) * len(header.candidates)),
    )


def make_open(sealed: SealedRequest, *, now: int, **changes: Any) -> Open:
    request = Open(
        deadline=now + DEADLINE_SECONDS,
        ticket=b"ticket-" + sealed.c[:8],
        header=sealed.header.raw,
        c=sealed.c,
        auth=sealed.auth,
        key=WrappedKey(sealed.wraps[0]),
    )
    return replace(request, **changes)


@dataclass
class Opened:
    """An answer as a client sees it; `check` holds the receipt against the request."""

    head: ResponseHead | None = None
    data: bytes = b""
    usages: list[UsageSeen] = field(default_factory=list)
    error: dict[str, Any] | None = None
    end: EndOpened | None = None

    @property
    def receipts(self) -> list[Receipt]:
        return [canonical.decode(one.receipt, Receipt) for one in self.usages]

    @property
    def final(self) -> Statement:
        return self.receipts[-1].statement

    @property
    def chunks(self) -> list[dict[str, Any]]:
        lines = [line for line in self.data.decode().split("\n\n") if line]
        return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]

    @property
    def text(self) -> str:
        parts = (
            choice["delta"].get("content") or ""
            for chunk in self.chunks
            for choice in chunk["choices"]
        )
        return "".join(parts)


def open_answer(sealed: SealedRequest, listing: Listing, answer: bytes) -> Opened:
    """Open every frame and check each receipt's signature, hash and place."""
    opener = ResponseOpener(sealed.header.h, {listing.worker: sealed.response_secrets[0]})
    opened = Opened()
    for event in opener.feed(answer):
        if isinstance(event, HeadOpened):
            assert event.worker == listing.worker
            opened.head = event.head
        elif isinstance(event, DataOpened):
            opened.data += event.payload
        elif isinstance(event, UsageSeen):
            opened.usages.append(event)
        elif isinstance(event, ErrorOpened):
            opened.error = json.loads(event.body)
        else:
            opened.end = event
    for usage, receipt in zip(opened.usages, opened.receipts, strict=True):
        verify_receipt(receipt, bytes.fromhex(listing.keyset.receipt_key))
        statement = receipt.statement
        assert statement.resp_ct_hash == usage.resp_ct_hash.hex()
        assert statement.resp_ct_bytes == usage.resp_ct_bytes
        check_own(statement, sealed, listing)
    if opened.end is not None:
        opener.finish()
        assert opened.end.end.statement == statement_hash(opened.final).hex()
    return opened


def check_own(statement: Statement, sealed: SealedRequest, listing: Listing) -> None:
    """The statement is about this request and this worker."""
    header = sealed.header.header
    assert statement.c == sealed.c.hex()
    assert statement.h == sealed.header.h.hex()
    assert statement.req_ct_hash == sealed.req_ct_hash.hex()
    assert (statement.id, statement.payer) == (header.id, header.payer)
    assert (statement.worker, statement.boot) == (listing.worker, listing.keyset.boot)
    assert statement.gateway == header.gateway
    assert statement.offer == header.candidates[0].offer
    assert int(statement.charge_nano) <= int(header.max_cost_nano)
