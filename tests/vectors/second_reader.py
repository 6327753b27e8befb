"""A second reader of `bombyx/1`, written from SPEC.md alone: it imports nothing of this project.

It opens requests and answers and checks receipts, for tests that ask whether the paper is enough.
Straightforward and slow; it trusts its caller with time, policy and memory.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.reference_hpke import key_schedule, xwing_secret

LONGEST = {0: 2**20, 1: 2**20, 2: 8192, 3: 2**20, 4: 8192, 5: 8192, 127: 512}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def canonical(raw: bytes) -> Any:
    """SPEC 1.6; the shape of each document is not checked here."""
    document = json.loads(raw)
    if rfc8785.dumps(document) != raw:
        raise ValueError("not canonical")
    return document


def expand(secret: bytes, info: bytes, size: int = 32) -> bytes:
    return hmac.digest(secret, info + b"\x01", "sha256")[:size]


def check_signature(kind: str, document: Any, signature: str, key: str) -> None:
    """SPEC 1.1."""
    signed = b"bombyx/1/" + kind.encode() + b"\0" + sha256(rfc8785.dumps(document))
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), signed)


@dataclass
class Cipher:
    """SPEC 2.9: one secret, one key, one counter."""

    secret: bytes
    h: bytes

    def open(self, seq: int, frame: "Frame", more: bytes = b"") -> bytes:
        base = int.from_bytes(expand(self.secret, b"nonce", 12), "big")
        data = self.h + seq.to_bytes(8, "big") + bytes([frame.type, frame.flags]) + more
        key = AESGCM(expand(self.secret, b"key"))
        return key.decrypt((base ^ seq).to_bytes(12, "big"), frame.body, data)


@dataclass
class Frame:
    type: int
    flags: int
    body: bytes
    raw: bytes


def frames_of(data: bytes) -> list[Frame]:
    found, at = [], 0
    while at < len(data):
        kind, flags = data[at], data[at + 1]
        size = int.from_bytes(data[at + 2 : at + 6], "big")
        if kind not in LONGEST or size > LONGEST[kind] or at + 6 + size > len(data):
            raise ValueError("a malformed frame")
        raw = data[at : at + 6 + size]
        found.append(Frame(kind, flags, raw[6:], raw))
        at += 6 + size
    return found


def open_wrap(wrap: bytes, info: bytes, *, mlkem_seed: bytes, x25519_seed: bytes) -> bytes:
    """SPEC 2.9: HPKE base mode of KEM 0x647a."""
    own = X25519PrivateKey.from_private_bytes(x25519_seed)
    secret = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed).decapsulate(wrap[:1088])
    shared = own.exchange(X25519PublicKey.from_public_bytes(wrap[1088:1120]))
    joined = xwing_secret(secret, shared, wrap[1088:1120], own.public_key().public_bytes_raw())
    schedule = key_schedule(joined, info)
    return AESGCM(schedule.key).decrypt(schedule.base_nonce, wrap[1120:], b"")


@dataclass
class Request:
    header: dict[str, Any]
    h: bytes
    c: bytes
    response_secret: bytes
    content_type: str
    body: bytes


def open_request(data: bytes, worker: str, *, mlkem_seed: bytes, x25519_seed: bytes) -> Request:
    """SPEC 2.8, 2.9, 2.2 and 2.7, as the worker of this id."""
    size = int.from_bytes(data[:4], "big")
    raw = data[4 : 4 + size]
    header, h = canonical(raw), sha256(raw)
    c, auth = data[4 + size : 36 + size], data[36 + size : 100 + size]
    count = data[100 + size]
    at = 101 + size + 1200 * count
    sealed = data[at:]
    number = [one["worker"] for one in header["candidates"]].index(worker)
    wrap = data[101 + size + 1200 * number : 101 + size + 1200 * (number + 1)]
    info = b"bombyx/1/wrap\0" + bytes.fromhex(worker) + h + c
    secrets = open_wrap(wrap, info, mlkem_seed=mlkem_seed, x25519_seed=x25519_seed)
    dek, response_secret = secrets[:32], secrets[32:]
    if expand(dek, b"commit" + h + sha256(sealed)) != c or count != len(header["candidates"]):
        raise ValueError("another commitment")
    check_signature("request", {"c": c.hex()}, auth.hex(), header["payer"])
    frames = frames_of(sealed)
    if [frame.flags for frame in frames] != [0] * (len(frames) - 1) + [1]:
        raise ValueError("not whole")
    cipher = Cipher(dek, h)
    plain = b"".join(cipher.open(seq, frame) for seq, frame in enumerate(frames))
    head, rest = prefixed(plain)
    body, zeros = prefixed(rest)
    if any(zeros) or len(plain) != bucket(len(plain) - len(zeros)):
        raise ValueError("wrong padding")
    return Request(header, h, c, response_secret, canonical(head)["content_type"], body)


def prefixed(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:4], "big")
    if 4 + size > len(data):
        raise ValueError("a length beyond the end")
    return data[4 : 4 + size], data[4 + size :]


def bucket(size: int) -> int:
    step = 1024
    while step < size:
        step = 2 * step if step < 8192 else step + step // 8
    return step


@dataclass
class Answer:
    head: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""
    errors: list[bytes] = field(default_factory=list)
    usages: list[tuple[bytes, str, int]] = field(default_factory=list)
    """Receipt, `resp_ct_hash` and `resp_ct_bytes` that its statement must name."""
    end: dict[str, Any] = field(default_factory=dict)


def open_answer(stream: bytes, h: bytes, secret: bytes) -> Answer:
    """SPEC 3, of a whole stream."""
    answer, salt = Answer(), stream[:32]
    cipher = Cipher(expand(secret, b"response" + salt), h)
    transcript, length, before = h + salt, 32, -1
    for seq, frame in enumerate(frames_of(stream[32:])):
        if answer.end or frame.flags != (1 if frame.type == 5 else 0):
            raise ValueError("a frame that may not come")
        if (frame.type == 1) != (seq == 0) or frame.type == 127:
            raise ValueError("head or note in a wrong place")
        if frame.type == 2:
            answer.usages.append((frame.body, sha256(transcript).hex(), length))
        else:
            bound = before == 2 or frame.type in (4, 5)
            plain = cipher.open(seq, frame, sha256(transcript) if bound else b"")
            take(answer, frame.type, plain)
        transcript, length, before = transcript + frame.raw, length + len(frame.raw), frame.type
    if not answer.end or answer.end["bytes"] != len(answer.data):
        raise ValueError("truncated")
    return answer


def take(answer: Answer, kind: int, plain: bytes) -> None:
    if kind == 5:
        answer.end = canonical(plain)
        return
    payload, zeros = (b"", plain) if kind == 3 else prefixed(plain)
    if any(zeros):
        raise ValueError("wrong padding")
    if kind == 0:
        answer.data += payload
    elif kind == 1:
        answer.head = canonical(payload)
    elif kind == 4:
        answer.errors.append(payload)


def check_receipt(raw: bytes, receipt_key: str) -> dict[str, Any]:
    """SPEC 1.4 and 1.5; the statement."""
    receipt = canonical(raw)
    statement, batch = receipt["statement"], receipt["batch"]
    node, path = sha256(b"\0" + rfc8785.dumps(statement)), list(receipt["path"])
    index, last = statement["n"] - batch["first_n"], batch["count"] - 1
    if not 0 <= index <= last or any(batch[key] != statement[key] for key in ("boot", "gateway")):
        raise ValueError("not of this batch")
    for sibling in map(bytes.fromhex, path):  # RFC 9162, 2.1.3.2
        if index & 1 or index == last:
            node = sha256(b"\x01" + sibling + node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = sha256(b"\x01" + node + sibling)
        index, last = index >> 1, last >> 1
    if node.hex() != batch["root"] or last:
        raise ValueError("not in this batch")
    check_signature("batch", batch, receipt["signature"], receipt_key)
    check_amounts(statement)
    return dict(statement)


def check_amounts(statement: dict[str, Any]) -> None:
    prices = {name: int(text) for name, text in statement["prices"].items()}
    tokens = statement["tokens"]
    total = (
        (tokens["prompt"] - tokens["cached"]) * prices["prompt"]
        + tokens["cached"] * prices["cached"]
        + (tokens["completion"] - tokens["reasoning"]) * prices["completion"]
        + tokens["reasoning"] * prices["reasoning"]
    )
    amount = -(-total // 10**6)
    fee = -(-amount * statement["fee_bps"] // 10**4)
    said = [int(statement[name]) for name in ("amount_nano", "fee_nano", "charge_nano")]
    if said != [amount, fee, amount + fee]:
        raise ValueError("other amounts")
