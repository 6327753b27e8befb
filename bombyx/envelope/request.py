"""Sealing a request to several workers, and opening it at one (SPEC 2.7 to 2.9).

Bytes: `u32be |H| | H | c(32) | auth(64) | u8 k | k wraps of 1200 B | frames`. The body is sealed
once under a random DEK; the commitment `c` fixes DEK, header and ciphertext, so that no candidate
can be handed another body, and names the request wherever money is spoken of.
"""

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bombyx.envelope.frames import FINAL, FrameSplitter, FrameType, aad, encode_frame
from bombyx.envelope.header import HashedHeader, parse_header
from bombyx.envelope.keys import (
    DOES_NOT_OPEN,
    SECRET_BYTES,
    TAG_BYTES,
    WRAP_BYTES,
    FrameCipher,
    PublicSealingKey,
    SealingKey,
    expand,
    wrap_info,
)
from bombyx.envelope.plaintext import Plaintext, PlaintextHead, pack, unpack
from bombyx.errors import BadAuth, BadSignature, CannotOpen, MalformedFrame, MalformedRequest
from bombyx.signing import Kind, Signer, verify

FRAME_PLAINTEXT = 2**20 - TAG_BYTES
"""Every request frame but the last holds exactly this much, so that sizes tell nothing more."""
C_BYTES = 32
AUTH_BYTES = 64
_U32 = struct.Struct(">I")


@dataclass(frozen=True, slots=True, repr=False)
class Entropy:
    """The randomness of one sealed request; drawn by the shell, never reused."""

    dek: bytes
    response_secrets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, repr=False)
class SealedRequest:
    """A sealed request, and what its sender keeps to open and check the answer."""

    header: HashedHeader
    c: bytes
    auth: bytes
    wraps: tuple[bytes, ...]
    frames: bytes
    response_secrets: tuple[bytes, ...]

    @property
    def req_ct_hash(self) -> bytes:
        """SHA-256 of the frames, heads included."""
        return hashlib.sha256(self.frames).digest()

    def encode(self) -> bytes:
        """The body of the HTTP request."""
        raw = self.header.raw
        count = bytes([len(self.wraps)])
        return b"".join(
            (_U32.pack(len(raw)), raw, self.c, self.auth, count, *self.wraps, self.frames)
        )


def seal_frames(dek: bytes, h: bytes, plaintext: bytes) -> bytes:
    """All request frames of a padded plaintext."""
    cipher, out = FrameCipher(dek), []
    pieces = range(0, len(plaintext), FRAME_PLAINTEXT)
    for seq, start in enumerate(pieces):
        flags = FINAL if seq == len(pieces) - 1 else 0
        piece = plaintext[start : start + FRAME_PLAINTEXT]
        sealed = cipher.seal(seq, piece, aad(h, seq, FrameType.DATA, flags))
        out.append(encode_frame(FrameType.DATA, flags, sealed))
    return b"".join(out)


def commitment(dek: bytes, h: bytes, req_ct_hash: bytes) -> bytes:
    """C: commits to the key (AES-GCM alone does not), the header and the ciphertext."""
    return expand(dek, b"commit" + h + req_ct_hash)


def auth_document(c: bytes) -> dict[str, str]:
    """What the payer signs."""
    return {"c": c.hex()}


def seal_request(
    header: HashedHeader,
    head: PlaintextHead,
    body: bytes,
    *,
    keys: Sequence[PublicSealingKey],
    payer: Signer,
    entropy: Entropy,
) -> SealedRequest:
    """Seal a body to the header's candidates, whose public keys stand in the same order."""
    candidates = header.header.candidates
    if not len(keys) == len(candidates) == len(entropy.response_secrets):
        raise ValueError("one key and one response secret per candidate")
    frames = seal_frames(entropy.dek, header.h, pack(head, body))
    c = commitment(entropy.dek, header.h, hashlib.sha256(frames).digest())
    wraps = tuple(
        key.wrap(entropy.dek + secret, wrap_info(bytes.fromhex(candidate.worker), header.h, c))
        for key, secret, candidate in zip(keys, entropy.response_secrets, candidates, strict=True)
    )
    auth = payer.sign(Kind.REQUEST, auth_document(c))
    return SealedRequest(header, c, auth, wraps, frames, entropy.response_secrets)


@dataclass(frozen=True, slots=True, repr=False)
class RequestHead:
    """What precedes the frames on the wire; the gateway reads this and no more."""

    header: HashedHeader
    c: bytes
    auth: bytes
    wraps: tuple[bytes, ...]


def parse_request(data: bytes) -> tuple[RequestHead, bytes]:
    """Head and frames of a whole sealed request; raises `MalformedRequest` or `MalformedHeader`."""
    if len(data) < _U32.size:
        raise MalformedRequest("the sealed request is too short")
    (size,) = _U32.unpack_from(data)
    start = _U32.size + size
    wraps_at = start + C_BYTES + AUTH_BYTES + 1
    if len(data) < wraps_at:
        raise MalformedRequest("the sealed request is too short")
    header = parse_header(data[_U32.size : start])
    c, auth = data[start : start + C_BYTES], data[start + C_BYTES : wraps_at - 1]
    count = data[wraps_at - 1]
    if count != len(header.header.candidates):
        raise MalformedRequest("there is not one wrap for each candidate")
    frames_at = wraps_at + count * WRAP_BYTES
    if len(data) <= frames_at:
        raise MalformedRequest("the sealed request is too short")
    wraps = tuple(data[at : at + WRAP_BYTES] for at in range(wraps_at, frames_at, WRAP_BYTES))
    return RequestHead(header, c, auth, wraps), data[frames_at:]


@dataclass(frozen=True, slots=True, repr=False)
class RequestKeys:
    """The two secrets that a wrap or a session gives the worker."""

    dek: bytes
    response_secret: bytes


def unwrap(wrap: bytes, key: SealingKey, *, worker: bytes, h: bytes, c: bytes) -> RequestKeys:
    """Open one wrap; raises `CannotOpen`."""
    if len(wrap) != WRAP_BYTES:
        raise CannotOpen(DOES_NOT_OPEN)
    blob = key.unwrap(wrap, wrap_info(worker, h, c))  # 1200 bytes hold exactly two secrets
    return RequestKeys(blob[:SECRET_BYTES], blob[SECRET_BYTES:])


def check_commitment(keys: RequestKeys, *, h: bytes, c: bytes, req_ct_hash: bytes) -> None:
    """Recompute `c` in constant time; raises `CannotOpen`."""
    if not hmac.compare_digest(commitment(keys.dek, h, req_ct_hash), c):
        raise CannotOpen(DOES_NOT_OPEN)


def check_auth(c: bytes, auth: bytes, payer: bytes) -> None:
    """The payer signed this commitment; raises `BadAuth`."""
    try:
        verify(Kind.REQUEST, auth_document(c), auth, payer)
    except BadSignature:
        raise BadAuth("the payer's signature over the request is wrong") from None


def open_frames(dek: bytes, h: bytes, frames: bytes) -> Plaintext:
    """Open all frames of a request; raises `MalformedFrame`, `CannotOpen`, `MalformedRequest`."""
    splitter, cipher = FrameSplitter(), FrameCipher(dek)
    whole = splitter.feed(frames)
    if splitter.pending or not whole:
        raise MalformedFrame("the sealed request breaks off")
    pieces = []
    for seq, frame in enumerate(whole):
        last = seq == len(whole) - 1
        if frame.type != FrameType.DATA or frame.flags != (FINAL if last else 0):
            raise MalformedFrame("a request consists of data frames, the last one marked")
        piece = cipher.open(seq, frame.body, aad(h, seq, frame.type, frame.flags))
        if not last and len(piece) != FRAME_PLAINTEXT:
            raise MalformedFrame("a request frame has a wrong size")
        pieces.append(piece)
    return unpack(b"".join(pieces))
