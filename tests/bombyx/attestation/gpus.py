"""NVIDIA devices that do not exist, under a root of our own."""

import base64
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from bombyx.attestation.evidence import GpuEvidence
from bombyx.attestation.nvidia.device import DeviceEvidence
from bombyx.attestation.pem import to_pem

NOW = 1_800_000_000
Key = ec.EllipticCurvePrivateKey
FWID = bytes(range(48))


@cache
def key(name: str) -> Key:
    del name  # one key per name
    return ec.generate_private_key(ec.SECP384R1())


def certificate(
    name: str, issuer: str, own: Key, signer: Key, *, ca: bool = True, fwid: bytes = b"",
    digest: hashes.SHA256 | None = None,
) -> bytes:  # fmt: skip
    now = datetime.fromtimestamp(NOW, tz=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(own.public_key())
        .serial_number(5)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=300))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if fwid:
        oid = x509.ObjectIdentifier("2.23.133.5.4.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, fwid), critical=False)
    made = builder.sign(signer, digest or hashes.SHA384())
    return made.public_bytes(Encoding.DER)


ROOT = certificate("OURS", "OURS", key("root"), key("root"))


@dataclass(frozen=True)
class Gpu:
    """A device; its report and certificates can differ at will."""

    name: str = "one"
    chip: str = "GH100 A01 GSP BROM"
    architecture: str = "HOPPER"
    nonce: bytes = bytes(32)
    driver: bytes = b"590.12\0"
    fwid: bytes = FWID
    certified_fwid: bytes = FWID
    own_may_issue: bool = True
    blocks: dict[int, bytes] = field(default_factory=lambda: {1: b"\1" * 48, 2: b"\2" * 48})
    opaque: tuple[tuple[int, bytes], ...] = ()

    def chain(self) -> list[bytes]:
        own, leaf = key(f"own {self.name}"), key(f"leaf {self.name}")
        return [
            certificate("LF", self.chip, leaf, own, ca=False, fwid=self.certified_fwid),
            certificate(self.chip, "OURS", own, key("root"), ca=self.own_may_issue),
            ROOT,
        ]

    def message(self) -> bytes:
        request = b"\x11\xe0\x00\x00" + self.nonce + b"\0"
        record = b"".join(
            struct.pack("<BBHBH", index, 1, len(value) + 3, 1, len(value)) + value
            for index, value in self.blocks.items()
        )
        fields = ((3, self.driver), (20, self.fwid), *self.opaque)
        opaque = b"".join(
            struct.pack("<HH", kind, len(value)) + value for kind, value in fields if value
        )
        head = b"\x11\x60\0\0" + bytes((len(self.blocks),)) + len(record).to_bytes(3, "little")
        return request + head + record + bytes(32) + struct.pack("<H", len(opaque)) + opaque

    def signed(self, message: bytes | None = None) -> bytes:
        said = self.message() if message is None else message
        der = key(f"leaf {self.name}").sign(said, ec.ECDSA(hashes.SHA384()))
        r, s = decode_dss_signature(der)
        return said + r.to_bytes(48, "big") + s.to_bytes(48, "big")

    def evidence(
        self, report: bytes | None = None, chain: list[bytes] | None = None
    ) -> DeviceEvidence:
        return DeviceEvidence(
            architecture=self.architecture,
            report=self.signed() if report is None else report,
            chain=b"".join(map(to_pem, chain or self.chain())),
            nonce=self.nonce,
        )

    def shown(self) -> GpuEvidence:
        """As a worker shows it."""
        evidence = self.evidence()
        return GpuEvidence(
            arch=self.architecture,
            certificate=base64.b64encode(evidence.chain).decode(),
            report=base64.b64encode(evidence.report).decode(),
        )
