"""Golden bytes of `bombyx/1` for other implementations; `python -m tests.vectors.make_vectors`.

Everything is made from the seeds of `tests.factories`, the wraps by `reference_hpke` since the
library draws its own randomness. A reader opens them with the private seeds beside them.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from bombyx import canonical, signing
from bombyx.envelope.documents import RelayNote, ResponseHead
from bombyx.envelope.frames import FrameType, encode_frame
from bombyx.envelope.keys import expand, wrap_info
from bombyx.envelope.plaintext import PlaintextHead, pack
from bombyx.envelope.request import (
    SealedRequest,
    auth_document,
    commitment,
    seal_frames,
)
from bombyx.envelope.response import Padding, ResponseSealer, response_secret
from bombyx.envelope.session import request_keys, session_info
from bombyx.link.documents import Lost
from bombyx.link.frames import LinkType, encode_link_frame
from bombyx.link.hello import Hello, challenge, worker_terms
from bombyx.link.open import Open, SessionKey, WrappedKey, encode_open
from bombyx.money.batch import leaf_hash
from bombyx.money.offer import offer_hash
from bombyx.money.statement import statement_hash
from bombyx.signing import Kind
from tests import factories
from tests.factories import BODY, GATEWAY, NOW, PAYER, hex_of, seed, worker
from tests.vectors import channel_vectors, link_vectors, negative, reference_hpke

FOLDER = Path(__file__).parent
WORKERS = [worker("a"), worker("b")]
Section = dict[str, Any]


def text(document: Any) -> str:
    """Canonical JSON is UTF-8 text."""
    return canonical.encode(document).decode()


def documents() -> Section:
    """Canonical documents with their digests, and what is signed over them."""
    offer, keyset = factories.signed_offer(WORKERS[0]), WORKERS[0].keyset
    refusal = factories.refusal(WORKERS[0])
    lost = Lost(gateway=GATEWAY.public_hex, c=hex_of("c"), at=NOW * 1000)
    return {
        "keyset": text(keyset),
        "worker": WORKERS[0].id,
        "link_seed": hex_of("a link"),
        "receipt_seed": hex_of("a receipt"),
        "offer": text(offer.offer),
        "offer_hash": offer_hash(offer.offer),
        "offer_message": signing.message(Kind.OFFER, offer.offer).hex(),
        "offer_signature": offer.signature,
        "refusal": text(refusal.refusal),
        "refusal_signature": refusal.signature,
        "lost": text(lost),
        "lost_signature": GATEWAY.sign(Kind.LOST, lost).hex(),
    }


HEAD = PlaintextHead(content_type="application/json", user_cache_secret=hex_of("cache"))


@cache
def sealed_request() -> SealedRequest:
    """A sealed request to two workers, all of it from fixed seeds."""
    header, dek = factories.hashed_header(WORKERS), seed("dek")
    frames = seal_frames(dek, header.h, pack(HEAD, BODY))
    c = commitment(dek, header.h, hashlib.sha256(frames).digest())
    secrets = tuple(seed(f"rs {number}") for number in range(len(WORKERS)))
    wraps = tuple(
        reference_hpke.wrap(
            of.sealing.public_bytes,
            dek + secret,
            info=wrap_info(bytes.fromhex(of.id), header.h, c),
            seed=encaps_seed(number),
        )
        for number, (of, secret) in enumerate(zip(WORKERS, secrets, strict=True))
    )
    auth = PAYER.sign(Kind.REQUEST, auth_document(c))
    return SealedRequest(header, c, auth, wraps, frames, secrets)


def encaps_seed(number: int) -> bytes:
    """The randomness of one wrap: 32 bytes for ML-KEM, 32 for X25519."""
    return seed(f"encaps {number}", reference_hpke.ENCAPS_SEED_BYTES)


def request() -> Section:
    """The sealed request with everything that led to it."""
    sealed, head, dek = sealed_request(), HEAD, seed("dek")
    header, c, auth, frames = sealed.header, sealed.c, sealed.auth, sealed.frames
    plaintext = pack(head, BODY)
    return {
        "header": header.raw.decode(),
        "h": header.h.hex(),
        "dek": dek.hex(),
        "key": expand(dek, b"key").hex(),
        "nonce": expand(dek, b"nonce", 12).hex(),
        "response_secrets": [secret.hex() for secret in sealed.response_secrets],
        "plaintext_head": text(head),
        "body": BODY.decode(),
        "plaintext_bytes": len(plaintext),
        "plaintext_sha256": hashlib.sha256(plaintext).hexdigest(),
        "frames": frames.hex(),
        "req_ct_hash": sealed.req_ct_hash.hex(),
        "c": c.hex(),
        "payer_seed": hex_of("payer"),
        "auth_message": signing.message(Kind.REQUEST, auth_document(c)).hex(),
        "auth": auth.hex(),
        "wraps": [
            {
                "worker": of.id,
                "mlkem_seed": hex_of(f"{name} mlkem", 64),
                "x25519_seed": hex_of(f"{name} x25519"),
                "public_key_sha256": hashlib.sha256(of.sealing.public_bytes).hexdigest(),
                "info": wrap_info(bytes.fromhex(of.id), header.h, c).hex(),
                "encaps_seed": encaps_seed(number).hex(),
                "wrap": wrap.hex(),
            }
            for number, (name, of, wrap) in enumerate(zip("ab", WORKERS, sealed.wraps, strict=True))
        ],
        "encoded": sealed.encode().hex(),
        "encoded_sha256": hashlib.sha256(sealed.encode()).hexdigest(),
    }


def response() -> Section:
    """An answer with a partial receipt, padding, and both kinds of end."""
    h, secret, salt = factories.hashed_header(WORKERS).h, seed("rs 0"), seed("salt")
    head = ResponseHead(status=200, headers=[("content-type", "text/event-stream")])
    section: Section = {"h": h.hex(), "secret": secret.hex(), "salt": salt.hex()}
    section["response_secret"] = response_secret(secret, salt).hex()
    for padding in Padding:
        sealer = ResponseSealer(secret, h=h, salt=salt, padding=padding)
        steps: list[Section] = []

        def add(step: str, frame: bytes, steps: list[Section] = steps, **said: Any) -> None:
            steps.append({"step": step, "frame": frame.hex(), **said})

        add("head", sealer.head(head), payload=text(head))
        add("data", sealer.data(b"data: 1\n\n"), payload="data: 1\n\n")
        partial = fixed(sealer)
        add("usage", sealer.usage(b'{"partial":true}'), payload='{"partial":true}', **partial)
        add("padding", sealer.keepalive(16), bytes=16)
        add("error", sealer.error(b'{"error":{}}'), payload='{"error":{}}')
        final = fixed(sealer)
        add("usage", sealer.usage(b'{"final":true}'), payload='{"final":true}', **final)
        add("end", sealer.end(seed("statement")), statement=hex_of("statement"))
        section[padding.value] = steps
    note = RelayNote(code="link_lost", retryable=True)
    section["relay_note"] = encode_frame(FrameType.RELAY_NOTE, 0, canonical.encode(note)).hex()
    return section


def fixed(sealer: ResponseSealer) -> Section:
    """What the next statement says of the answer."""
    digest, length = sealer.fix()
    return {"resp_ct_hash": digest.hex(), "resp_ct_bytes": length}


def receipts() -> Section:
    """A batch of three statements, each receipt checkable alone."""
    statements, previous = [], "0" * 64
    for n in range(3):
        made = factories.statement(WORKERS[0], n=n, seq=n, prev=previous)
        statements.append(made)
        previous = statement_hash(made).hex()
    batch = factories.receipts(statements, WORKERS[0].receipt)
    return {
        "receipt_key": WORKERS[0].receipt.public_hex,
        "batch": text(batch[0].batch),
        "batch_message": signing.message(Kind.BATCH, batch[0].batch).hex(),
        "settle_message": signing.message(Kind.SETTLE, batch[0].batch).hex(),
        "settle_signature": WORKERS[0].receipt.sign(Kind.SETTLE, batch[0].batch).hex(),
        "receipts": [
            {
                "receipt": text(receipt),
                "statement_hash": statement_hash(receipt.statement).hex(),
                "leaf": leaf_hash(canonical.encode(receipt.statement)).hex(),
            }
            for receipt in batch
        ],
    }


def link() -> Section:
    """Hello and open frames, and a bare session's keys."""
    hello = Hello(v="bombyx-link/1", nonce=hex_of("nonce w"))
    url = "wss://gateway.example/v1/link"
    offered = challenge(hello, GATEWAY, url=url, nonce=hex_of("nonce g"), slot=1, epoch=2)
    terms = worker_terms(hello, offered, worker=WORKERS[0].id, at=NOW)
    header, session = factories.hashed_header(WORKERS), seed("session id", 16)
    keys: dict[str, WrappedKey | SessionKey] = {
        "wrapped": WrappedKey(sealed_request().wraps[0]),
        "session": SessionKey(session, 7),
    }
    opens = {
        name: encode_open(Open(NOW, b"ticket", header.raw, seed("c"), seed("auth", 64), key))
        for name, key in keys.items()
    }
    bare = request_keys(seed("session"), 7)
    return {
        "gateway_seed": hex_of("gateway"),
        "hello": text(hello),
        "challenge": text(offered),
        "worker_terms": text(terms),
        "worker_signature": WORKERS[0].link.sign(Kind.LINK_WORKER, terms).hex(),
        "frame": encode_link_frame(LinkType.HELLO, 0, canonical.encode(hello)).hex(),
        "open": {name: raw.hex() for name, raw in opens.items()},
        "session": {
            "info": session_info(bytes.fromhex(WORKERS[0].id), GATEWAY.public_key, session).hex(),
            "secret": hex_of("session"),
            "counter": 7,
            "dek": bare.dek.hex(),
            "response_secret": bare.response_secret.hex(),
        },
        **link_vectors.frames(),
    }


@cache
def build() -> dict[str, Section]:
    """All sections, by file name."""
    positive = {
        "documents": documents(),
        "request": request(),
        "response": response(),
        "receipts": receipts(),
        "link": link(),
        "channel": channel_vectors.section(),
    }
    return {**positive, "negative": negative.cases(positive)}


def load() -> dict[str, Section]:
    """What is stored now."""
    return {path.stem: msgspec.json.decode(path.read_bytes()) for path in FOLDER.glob("*.json")}


def main() -> None:
    """Write every file anew."""
    for name, section in build().items():
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(section, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
