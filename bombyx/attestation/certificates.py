"""X.509 certificates, as much of them as chains of machines need (SPEC 17.2, RFC 5280).

Read here byte by byte and not by the X.509 library: that one warns of AMD's certificates (their
serial number is 0) and will refuse them, and for others' bytes raises more than one can list.
Parses and judges nothing but the form.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from bombyx.attestation import der

MAX_CERTIFICATE_BYTES = 4096
"""Those of machines have 0.7 to 1.9 KiB."""
_COMMON_NAME = "2.5.4.3"
_BASIC_CONSTRAINTS = "2.5.29.19"
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_VERSION_3 = bytes.fromhex("a003020102")
_CA = b"\x01\x01\xff"
"""The boolean TRUE, with which the constraints of an authority begin."""
_TBS_PARTS = 8


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; names, key (SPKI) and `raw` in DER, extensions by their OID."""

    name: str
    serial: int
    subject: bytes
    issuer: bytes
    issuer_name: str
    not_before: datetime
    not_after: datetime
    public_key: bytes
    extensions: dict[str, bytes]
    algorithm: str
    signed: bytes
    signature: bytes
    raw: bytes

    @property
    def may_issue(self) -> bool:
        """Whether it is an authority's."""
        constraints = self.extensions.get(_BASIC_CONSTRAINTS, b"")
        return constraints[2:].startswith(_CA)


def parse_certificate(raw: bytes, *, limit: int = MAX_CERTIFICATE_BYTES) -> Certificate:
    """Read a certificate of at most `limit` bytes; raises `ValueError` with a reason."""
    if len(raw) > limit:
        raise ValueError(f"it is longer than {limit // 1024} KiB")
    tbs, algorithm, signature = der.children(raw, der.SEQUENCE, 3)
    parts = list(der.items(tbs[1]))
    if len(parts) != _TBS_PARTS or parts[0][2] != _VERSION_3 or parts[7][0] != _EXTENSIONS:
        raise ValueError("no certificate of version 3 with extensions")
    _, number, inner_algorithm, issuer, validity, subject, key, extensions = parts
    if algorithm[2] != inner_algorithm[2]:
        raise ValueError("it is signed in another way than it says")
    begin, end = der.children(validity[2], der.SEQUENCE, 2)
    return Certificate(
        name=_common_name(subject[2]),
        serial=int.from_bytes(number[1], "big", signed=True),
        subject=subject[2],
        issuer=issuer[2],
        issuer_name=_common_name(issuer[2]),
        not_before=_moment(begin),
        not_after=_moment(end),
        public_key=key[2],
        extensions=_extensions(extensions[1]),
        algorithm=_algorithm(algorithm[2]),
        signed=tbs[2],
        signature=der.bits(signature),
        raw=raw,
    )


def _algorithm(identifier: bytes) -> str:
    parts = der.children(identifier, der.SEQUENCE)
    if not parts:
        raise ValueError("its algorithm has no name")
    return der.oid_text(parts[0])


def _common_name(name: bytes) -> str:
    found = []
    for group in der.children(name, der.SEQUENCE):
        for pair in der.children(group[2], der.SET):
            kind, value = der.children(pair[2], der.SEQUENCE, 2)
            if der.oid_text(kind) == _COMMON_NAME:
                found.append(value[1].decode("ascii"))
    if len(found) != 1:
        raise ValueError("a name without one common name")
    return found[0]


def _moment(item: der.Item) -> datetime:
    forms = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
    if item[0] not in forms:
        raise ValueError("a date of unknown form")
    return datetime.strptime(item[1].decode("ascii"), forms[item[0]]).replace(tzinfo=UTC)


def _extensions(wrapped: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for one in der.children(wrapped, der.SEQUENCE):
        parts = der.children(one[2], der.SEQUENCE)
        if not parts or parts[-1][0] != der.OCTETS:
            raise ValueError("an extension of unknown form")
        oid = der.oid_text(parts[0])
        if oid in found:
            raise ValueError("an extension twice")
        found[oid] = parts[-1][1]
    return found
