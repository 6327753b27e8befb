"""The extension by which a platform certificate describes its platform (Intel PCK, DER).

Written out by hand: no ASN.1 library is worth its place in the worker for forty lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

OID = "1.2.840.113741.1.13.1"
_INTEGER, _OCTETS, _OBJECT, _ENUMERATED, _SEQUENCE, _BOOLEAN = 0x02, 0x04, 0x06, 0x0A, 0x30, 0x01
_LONG_FORM = 0x80
_PLATFORM_CA_TYPE = b"\x01"
"""SGX type 1: scalable."""


@dataclass(frozen=True, slots=True)
class PlatformDescription:
    """Ids of 16 bytes, FMSPC of 6, 16 component versions and the PCE's."""

    ppid: bytes
    instance: bytes
    fmspc: bytes
    cpu_svn: Sequence[int]
    pce_svn: int


def encode_extension(platform: PlatformDescription) -> bytes:
    """The extension's DER value."""
    components = [
        _entry(f"{OID}.2.{place}", _integer(svn)) for place, svn in enumerate(platform.cpu_svn, 1)
    ]
    tcb = _sequence(
        *components,
        _entry(f"{OID}.2.17", _integer(platform.pce_svn)),
        _entry(f"{OID}.2.18", _tagged(_OCTETS, bytes(platform.cpu_svn))),
    )
    no = _tagged(_BOOLEAN, b"\0")
    flags = _sequence(*(_entry(f"{OID}.7.{place}", no) for place in (1, 2, 3)))
    return _sequence(
        _entry(f"{OID}.1", _tagged(_OCTETS, platform.ppid)),
        _entry(f"{OID}.2", tcb),
        _entry(f"{OID}.3", _tagged(_OCTETS, b"\0\0")),
        _entry(f"{OID}.4", _tagged(_OCTETS, platform.fmspc)),
        _entry(f"{OID}.5", _tagged(_ENUMERATED, _PLATFORM_CA_TYPE)),
        _entry(f"{OID}.6", _tagged(_OCTETS, platform.instance)),
        _entry(f"{OID}.7", flags),
    )


def _entry(oid: str, value: bytes) -> bytes:
    return _sequence(_object(oid), value)


def _sequence(*items: bytes) -> bytes:
    return _tagged(_SEQUENCE, b"".join(items))


def _tagged(tag: int, body: bytes) -> bytes:
    length = len(body)
    if length < _LONG_FORM:
        return bytes([tag, length]) + body
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(size)]) + size + body


def _integer(value: int) -> bytes:
    return _tagged(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _object(oid: str) -> bytes:
    first, second, *rest = map(int, oid.split("."))
    return _tagged(_OBJECT, bytes([40 * first + second]) + b"".join(map(_base128, rest)))


def _base128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, value & 0x7F | 0x80)
    return bytes(digits)
