"""The bytes of TPM 2.0 commands and responses, as few as a quote needs (TCG Library, part 3).

Written here because the trusted base pays for every library: the alternative binds the whole of
libtss2, and the command line tools are processes with files between. Pure: packs and unpacks.
"""

import struct
from dataclasses import dataclass
from typing import Final

SHA256: Final = 0x000B
ECDSA: Final = 0x0018
_ECC: Final = 0x0023
_NULL: Final = 0x0010
_NIST_P256: Final = 0x0003
_NO_SESSIONS: Final = 0x8001
_SESSIONS: Final = 0x8002
_HEADER: Final = struct.Struct(">HII")
HEADER_BYTES: Final = _HEADER.size
_EMPTY_PASSWORD: Final = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
"""The authorisation of a key that has none."""
MAX_RESPONSE_BYTES: Final = 4096
"""TPMs answer in one buffer of 4 KiB."""

CREATE_PRIMARY: Final = 0x00000131
QUOTE: Final = 0x00000158
FLUSH_CONTEXT: Final = 0x00000165
GET_CAPABILITY: Final = 0x0000017A
PCR_READ: Final = 0x0000017E

ENDORSEMENT: Final = 0x4000000B
"""The hierarchy whose seed is the TPM's own for life, so that its keys are the same each boot."""
AK_ATTRIBUTES: Final = 0x00050072
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign: signs only what the
TPM itself made, and never leaves it."""
_PCR_BITMAP_BYTES: Final = 3
PCR_COUNT: Final = 24
_PROPERTIES: Final = 6
_MANUFACTURER: Final = 0x105
_AGAIN: Final = frozenset({0x908, 0x90A, 0x922})
"""TPM_RC_YIELDED, _TESTING, _RETRY: warnings that mean "send it again"."""
_UNCOMPRESSED: Final = b"\x04"


class TpmAnswerError(Exception):
    """Raised when a TPM refuses a command, or answers what cannot be read."""


@dataclass(frozen=True, slots=True)
class PrimaryKey:
    """A key that the TPM holds under a handle; `point` is its public P-256 point, 65 bytes."""

    handle: int
    point: bytes


@dataclass(frozen=True, slots=True)
class RawQuote:
    """What the TPM signed (TPMS_ATTEST), and r, s."""

    attest: bytes
    r: int
    s: int


class Reader:
    """Takes an answer's fields in turn; raises `TpmAnswerError` where it breaks off."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """So many bytes."""
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise TpmAnswerError("the TPM's answer breaks off")
        self._at += size
        return piece

    def number(self, size: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """Bytes that their length precedes."""
        return self.take(self.number(2))

    def expect(self, value: int, size: int) -> None:
        """A number that must be this one."""
        if self.number(size) != value:
            raise TpmAnswerError("the TPM answers with another algorithm than the one asked for")


def sized(data: bytes) -> bytes:
    """Bytes behind their length (TPM2B)."""
    return struct.pack(">H", len(data)) + data


def _command(code: int, body: bytes, *, key: int | None = None) -> bytes:
    """A command; one that uses a key names its handle and authorises with the empty password."""
    tag = _NO_SESSIONS
    if key is not None:
        tag = _SESSIONS
        authorisation = struct.pack(">I", len(_EMPTY_PASSWORD)) + _EMPTY_PASSWORD
        body = struct.pack(">I", key) + authorisation + body
    return _HEADER.pack(tag, _HEADER.size + len(body), code) + body


def response_size(header: bytes) -> int:
    """How long the response is that begins so; raises `TpmAnswerError`."""
    if len(header) < _HEADER.size:
        raise TpmAnswerError("the TPM's answer breaks off")
    size: int = _HEADER.unpack_from(header)[1]
    if not _HEADER.size <= size <= MAX_RESPONSE_BYTES:
        raise TpmAnswerError("the TPM announces an answer of impossible length")
    return size


def wants_again(response: bytes) -> bool:
    """Whether the TPM says that it was busy and wants the same command once more."""
    return len(response) == _HEADER.size and _HEADER.unpack(response)[2] in _AGAIN


def answer_body(response: bytes) -> Reader:
    """What follows a response's header; raises `TpmAnswerError` where the TPM refuses."""
    if len(response) != response_size(response):
        raise TpmAnswerError("the TPM's answer has another length than announced")
    code = _HEADER.unpack_from(response)[2]
    if code:
        raise TpmAnswerError(f"the TPM refuses with code {code:#x}")
    return Reader(response[_HEADER.size :])


def selection(pcrs: tuple[int, ...]) -> bytes:
    """A list of one selection: these registers of the SHA-256 bank."""
    bits = sum(1 << number for number in set(pcrs))
    return struct.pack(">IHB", 1, SHA256, _PCR_BITMAP_BYTES) + bits.to_bytes(3, "little")


def create_attestation_key() -> bytes:
    """Make (or make again: it is the same) the attestation key of the endorsement hierarchy."""
    parameters = struct.pack(">HHHHH", _NULL, ECDSA, SHA256, _NIST_P256, _NULL)
    public = struct.pack(">HHIH", _ECC, SHA256, AK_ATTRIBUTES, 0) + parameters + sized(b"") * 2
    sensitive = sized(sized(b"") * 2)
    nothing = sized(b"") + struct.pack(">I", 0)
    body = sensitive + sized(public) + nothing
    return _command(CREATE_PRIMARY, body, key=ENDORSEMENT)


def read_created(response: bytes) -> PrimaryKey:
    """The key that was made; raises `TpmAnswerError` unless it is the kind asked for."""
    body = answer_body(response)
    handle = body.number(4)
    body.number(4)
    public = Reader(body.sized())
    public.expect(_ECC, 2)
    public.expect(SHA256, 2)
    public.expect(AK_ATTRIBUTES, 4)
    public.sized()
    for expected in (_NULL, ECDSA, SHA256, _NIST_P256, _NULL):
        public.expect(expected, 2)
    x, y = public.sized(), public.sized()
    return PrimaryKey(handle, _UNCOMPRESSED + x.rjust(32, b"\0") + y.rjust(32, b"\0"))


def quote(key: int, *, data: bytes, pcrs: tuple[int, ...]) -> bytes:
    """Sign these registers together with `data` (at most 32 bytes on every TPM)."""
    return _command(QUOTE, sized(data) + struct.pack(">H", _NULL) + selection(pcrs), key=key)


def read_quote(response: bytes) -> RawQuote:
    """What was signed; raises `TpmAnswerError`."""
    body = answer_body(response)
    body.number(4)
    attest = body.sized()
    body.expect(ECDSA, 2)
    body.expect(SHA256, 2)
    r, s = body.sized(), body.sized()
    return RawQuote(attest, int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def read_pcrs(pcrs: tuple[int, ...]) -> bytes:
    """Ask for registers; a TPM answers eight of them at a time."""
    return _command(PCR_READ, selection(pcrs))


def read_pcr_values(response: bytes) -> dict[int, bytes]:
    """Those that were answered, by number; raises `TpmAnswerError`."""
    body = answer_body(response)
    body.number(4)
    body.expect(1, 4)
    body.expect(SHA256, 2)
    bits = int.from_bytes(body.take(body.number(1)), "little")
    numbers = [number for number in range(PCR_COUNT) if bits >> number & 1]
    body.expect(len(numbers), 4)
    return {number: body.sized() for number in numbers}


def flush(handle: int) -> bytes:
    """Let a key go; devices without a resource manager have room for three."""
    return _command(FLUSH_CONTEXT, struct.pack(">I", handle))


def ask_manufacturer() -> bytes:
    """Ask who made the TPM: the shortest question that any TPM 2.0 answers."""
    return _command(GET_CAPABILITY, struct.pack(">III", _PROPERTIES, _MANUFACTURER, 1))


def read_manufacturer(response: bytes) -> str:
    """Up to four letters, `IBM` for a software TPM; raises `TpmAnswerError`."""
    body = answer_body(response)
    body.take(1)
    body.expect(_PROPERTIES, 4)
    body.expect(1, 4)
    body.expect(_MANUFACTURER, 4)
    letters = body.take(4).rstrip(b"\0 ")
    return "".join(chr(one) if 32 < one < 127 else "?" for one in letters)  # noqa: PLR2004
