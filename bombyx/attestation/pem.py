"""Certificates in PEM, one spelling only (SPEC 17).

The quote's signature does not cover its certificates, so free spelling there would let anybody
make many accepted quotes out of one.
"""

import base64
import binascii

_BEGIN = b"-----BEGIN CERTIFICATE-----\n"
_END = b"-----END CERTIFICATE-----\n"
_LINE = 64
MAX_CERTIFICATES = 4
"""Leaf, intermediate and root, and one to spare."""


def split_certificates(pem: bytes, *, most: int = MAX_CERTIFICATES) -> list[bytes]:
    """The DER of each certificate, first to last; raises `ValueError` for any other spelling."""
    parts = pem.split(_BEGIN)[1:]
    if not 0 < len(parts) <= most:
        raise ValueError(f"a chain of 1 to {most} certificates is wanted")
    chain = [_decode(part) for part in parts]
    if b"".join(map(to_pem, chain)) != pem:
        raise ValueError("the PEM is not in its canonical form")
    return chain


def to_pem(der: bytes) -> bytes:
    """A certificate as OpenSSL writes it: lines of 64 characters."""
    text = base64.b64encode(der)
    lines = [text[at : at + _LINE] + b"\n" for at in range(0, len(text), _LINE)]
    return _BEGIN + b"".join(lines) + _END


def _decode(part: bytes) -> bytes:
    try:
        return base64.b64decode(part.removesuffix(_END))
    except binascii.Error:
        raise ValueError("the PEM holds no base64") from None
