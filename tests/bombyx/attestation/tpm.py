"""A TPM that does not exist: quotes of any content, as a TPM 2.0 lays them out."""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bombyx.attestation.vtpm.quote import TpmEvidence

KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
KEY_ID = hashlib.sha256(SPKI).hexdigest()
PCRS = {0: b"\x01" * 32, 4: b"\x04" * 32, 11: b"\x0b" * 32}


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@dataclass(frozen=True)
class Tpm:
    """One quote; what it quotes and what is shown beside can differ at will."""

    nonce: bytes = bytes(32)
    pcrs: dict[int, bytes] = field(default_factory=lambda: dict(PCRS))
    shown: dict[int, bytes] | None = None
    magic: bytes = b"\xffTCG"
    kind: bytes = b"\x80\x18"
    selections: int = 1
    bank: int = 0x000B
    bitmap: int = 3
    digest: bytes | None = None
    behind: bytes = b""

    def quote(self) -> bytes:
        digest = hashlib.sha256(b"".join(self.pcrs.values())).digest()
        bits = sum(1 << number for number in self.pcrs)
        return (
            self.magic
            + self.kind
            + sized(b"signer")
            + sized(self.nonce)
            + bytes(25)
            + self.selections.to_bytes(4, "big")
            + self.bank.to_bytes(2, "big")
            + bytes((self.bitmap,))
            + bits.to_bytes(3, "little")
            + sized(digest if self.digest is None else self.digest)
            + self.behind
        )

    def evidence(self) -> bytes:
        quote = self.quote()
        signature = KEY.sign(quote, ec.ECDSA(hashes.SHA256()))
        values = tuple((self.shown or self.pcrs).values())
        return TpmEvidence(quote, signature, SPKI, values).encode()
