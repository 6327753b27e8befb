"""AMD processors that do not exist: authorities of our own, and reports of any content."""

import base64
import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from bombyx.attestation.snp.endorsement import HW_ID, TCB_OIDS
from bombyx.attestation.snp.product import PRODUCTS, Product
from bombyx.attestation.vendor import AmdAuthority

NOW = 1_800_000_000
CPUS = {"milan": (0x19, 0x01), "genoa": (0x19, 0x11), "turin": (0x1A, 0x02)}
CHIP = bytes(range(64))
TCB = {"bl": 7, "tee": 1, "snp": 22, "ucode": 84, "fmc": 2}
_DIGEST = hashes.SHA384()
_PSS = padding.PSS(mgf=padding.MGF1(_DIGEST), salt_length=48)


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    del name  # one key per name
    return rsa.generate_private_key(65537, 2048)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def build(
    name: str, issuer: str, key: Any, signer: rsa.RSAPrivateKey, extensions: dict[str, bytes]
) -> bytes:
    now = datetime.fromtimestamp(NOW, tz=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=335))
        .add_extension(x509.BasicConstraints(ca=not extensions, path_length=None), critical=True)
    )
    for oid, value in extensions.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    return der(builder.sign(signer, hashes.SHA384(), rsa_padding=_PSS))


@cache
def product(name: str) -> Product:
    """Authorities of our own for a generation."""
    title = name.capitalize()
    root = rsa_key(f"ark {name}")
    ark = build(f"ARK-{title}", f"ARK-{title}", root, root, {})
    ask = build(f"SEV-{title}", f"ARK-{title}", rsa_key(f"ask {name}"), root, {})
    asvk = build(f"SEV-VLEK-{title}", f"ARK-{title}", rsa_key(f"asvk {name}"), root, {})
    return replace(PRODUCTS[name], ark=ark, ask=ask, asvk=asvk)


OURS = {name: product(name) for name in PRODUCTS}


@dataclass(frozen=True)
class Machine:
    """A processor; what it reports and what its certificate says can differ at will."""

    generation: str = "genoa"
    cpu: tuple[int, int] | None = None
    version: int = 5
    policy: int = 0x30000
    vmpl: int = 0
    flags: int = 0
    platform_info: int = 0x25
    report_data: bytes = bytes(64)
    measurement: bytes = b"\x11" * 48
    host_data: bytes = bytes(32)
    chip: bytes = CHIP
    reported: dict[str, int] = field(default_factory=lambda: dict(TCB))
    certified: dict[str, bytes] = field(default_factory=dict)
    hw_id: bytes | None = CHIP
    common_name: str = ""
    curve: ec.EllipticCurve = field(default_factory=ec.SECP384R1)
    certificate_key: Any = None

    @property
    def is_cloud(self) -> bool:
        return bool(self.flags >> 2 & 7)

    def _tcb(self) -> bytes:
        raw = bytearray(8)
        for part, at in OURS[self.generation].components.items():
            raw[at] = self.reported[part]
        return bytes(raw)

    def _body(self) -> bytes:
        body = bytearray(0x4A0)
        cpu = self.cpu or CPUS[self.generation]
        for at, value in (
            (0x00, struct.pack("<I", self.version)),
            (0x08, struct.pack("<Q", self.policy)),
            (0x30, struct.pack("<II", self.vmpl, 1)),
            (0x40, struct.pack("<QI", self.platform_info, self.flags)),
            (0x50, self.report_data + self.measurement + self.host_data),
            (0x180, self._tcb()),
            (0x188, bytes(cpu)),
            (0x1A0, self.chip),
            (0x1E0, self._tcb()),
        ):
            body[at : at + len(value)] = value
        return bytes(body)

    def shown(self) -> tuple[bytes, bytes]:
        """The report and the certificate of its key."""
        key = ec.generate_private_key(self.curve)
        body = self._body()
        r, s = decode_dss_signature(key.sign(body[:0x2A0], ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
        report = body[:0x2A0] + signature + body[0x330:]
        return report, self._certificate(self.certificate_key or key)

    def _certificate(self, key: Any) -> bytes:
        parts = OURS[self.generation].components
        extensions = {
            TCB_OIDS[part]: bytes((2, 1, self.reported[part] & 0x7F)) for part in parts
        } | {TCB_OIDS[part]: value for part, value in self.certified.items()}
        if self.hw_id is not None and not self.is_cloud:
            extensions[HW_ID] = self.hw_id
        title = self.generation.capitalize()
        middle = "SEV-VLEK-" if self.is_cloud else "SEV-"
        name = self.common_name or ("SEV-VLEK" if self.is_cloud else "SEV-VCEK")
        signer = rsa_key(f"{'asvk' if self.is_cloud else 'ask'} {self.generation}")
        return build(name, middle + title, key, signer, extensions)


def crl(generation: str, serials: list[int], *, at: int = NOW, signer: str = "ark") -> bytes:
    """A revocation list of a generation's root."""
    moment = datetime.fromtimestamp(at, tz=UTC)
    title = f"ARK-{generation.capitalize()}"
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)]))
        .last_update(moment)
        .next_update(moment + timedelta(days=10))
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment).build()
        )
    made = builder.sign(rsa_key(f"{signer} {generation}"), hashes.SHA384(), rsa_padding=_PSS)
    return made.public_bytes(Encoding.DER)


def authority(crl: bytes) -> AmdAuthority:
    """A revocation list as the document that a gateway serves."""
    return AmdAuthority(chain="not read", crl=base64.b64encode(crl).decode())
