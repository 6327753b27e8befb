"""TPM 2.0 commands that seal a key to registers and count (TCG Library, part 3). Pure.

Beside `worker.attest.tpm2_wire`, which knows how to quote. The sealed object lies under the storage
key of the owner hierarchy; whoever opens it satisfies PolicyPCR.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from worker.attest.tpm2_wire import (
    HEADER_BYTES,
    SHA256,
    TpmAnswerError,
    answer_body,
    selection,
    sized,
)

OWNER: Final = 0x40000001
PASSWORD: Final = 0x40000009
NULL_HANDLE: Final = 0x40000007
COUNTER_BYTES: Final = 8

_CREATE_PRIMARY: Final = 0x131
_CREATE: Final = 0x153
_LOAD: Final = 0x157
_UNSEAL: Final = 0x15E
_START_SESSION: Final = 0x176
_POLICY_PCR: Final = 0x17F
_NV_DEFINE: Final = 0x12A
_NV_INCREMENT: Final = 0x134
_NV_READ: Final = 0x14E

_NO_SESSIONS: Final = 0x8001
_SESSIONS: Final = 0x8002
_NULL: Final = 0x0010
_ECC: Final = 0x0023
_KEYED_HASH: Final = 0x0008
_AES: Final = 0x0006
_AES_BITS: Final = 128
_CFB: Final = 0x0043
_P256: Final = 0x0003
_STORAGE: Final = 0x00030472
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt."""
_SEALED: Final = 0x00000412
"""fixedTPM, fixedParent, noDA; no userWithAuth: only its policy opens it."""
_COUNTER: Final = 0x02040014
"""A counter, written and read with its own empty password, outside the dictionary lock."""
_POLICY_SESSION: Final = 0x01
_NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class SealedObject:
    """TPM2B_PRIVATE and TPM2B_PUBLIC, without their lengths; worthless to any other TPM."""

    private: bytes
    public: bytes


def _command(code: int, handles: tuple[int, ...], parameters: bytes, *, session: int = 0) -> bytes:
    """Handles, then the authorisation if a session is named, then parameters."""
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    if session:
        authorisation = struct.pack(">IHBH", session, 0, 0, 0)
        body += struct.pack(">I", len(authorisation)) + authorisation
    tag = _SESSIONS if session else _NO_SESSIONS
    return struct.pack(">HII", tag, HEADER_BYTES + len(body + parameters), code) + body + parameters


def _creation(sensitive: bytes, public: bytes) -> bytes:
    """Parameters of both Create commands: no outside info, no registers noted."""
    return sized(sensitive) + sized(public) + sized(b"") + struct.pack(">I", 0)


def create_storage_key() -> bytes:
    """The storage key: made anew each time, and each time the same."""
    parameters = struct.pack(">HHHHHH", _AES, _AES_BITS, _CFB, _NULL, _P256, _NULL)
    public = struct.pack(">HHIH", _ECC, SHA256, _STORAGE, 0) + parameters + sized(b"") * 2
    return _command(_CREATE_PRIMARY, (OWNER,), _creation(sized(b"") * 2, public), session=PASSWORD)


def read_handle(response: bytes) -> int:
    """The handle of what was made or loaded."""
    return answer_body(response).number(4)


def create_sealed(parent: int, secret: bytes, policy: bytes) -> bytes:
    """Seal a secret (at most 128 bytes) to a policy."""
    public = struct.pack(">HHI", _KEYED_HASH, SHA256, _SEALED) + sized(policy)
    public += struct.pack(">H", _NULL) + sized(b"")
    parameters = _creation(sized(b"") + sized(secret), public)
    return _command(_CREATE, (parent,), parameters, session=PASSWORD)


def read_sealed(response: bytes) -> SealedObject:
    """What to keep on disk."""
    body = answer_body(response)
    body.number(4)
    private = body.sized()
    return SealedObject(private, body.sized())


def load(parent: int, sealed_object: SealedObject) -> bytes:
    """Load it under its parent; the TPM refuses another TPM's."""
    parameters = sized(sealed_object.private) + sized(sealed_object.public)
    return _command(_LOAD, (parent,), parameters, session=PASSWORD)


def start_policy(nonce: bytes) -> bytes:
    """Begin a policy session; `nonce` has 16 bytes."""
    if len(nonce) != _NONCE_BYTES:
        raise ValueError("the nonce has 16 bytes")
    parameters = sized(nonce) + sized(b"") + struct.pack(">BHH", _POLICY_SESSION, _NULL, SHA256)
    return _command(_START_SESSION, (NULL_HANDLE, NULL_HANDLE), parameters)


def policy_pcr(session: int, pcrs: tuple[int, ...]) -> bytes:
    """Bring the registers as they are into a session's policy."""
    return _command(_POLICY_PCR, (session,), sized(b"") + selection(pcrs))


def policy_digest(values: dict[int, bytes]) -> bytes:
    """What a session's policy is with these values of registers (part 3, 23.7)."""
    registers = hashlib.sha256(b"".join(values[number] for number in sorted(values))).digest()
    code = struct.pack(">I", _POLICY_PCR)
    return hashlib.sha256(bytes(32) + code + selection(tuple(values)) + registers).digest()


def unseal(item: int, session: int) -> bytes:
    """Ask for the secret; the session ends with it."""
    return _command(_UNSEAL, (item,), b"", session=session)


def read_unsealed(response: bytes) -> bytes:
    """The secret."""
    body = answer_body(response)
    body.number(4)
    return body.sized()


def define_counter(index: int) -> bytes:
    """A new counter; it has no value until it is raised."""
    public = struct.pack(">IHIHH", index, SHA256, _COUNTER, 0, COUNTER_BYTES)
    return _command(_NV_DEFINE, (OWNER,), sized(b"") + sized(public), session=PASSWORD)


def raise_counter(index: int) -> bytes:
    """One more."""
    return _command(_NV_INCREMENT, (index, index), b"", session=PASSWORD)


def read_counter(index: int) -> bytes:
    """Ask for its value."""
    parameters = struct.pack(">HH", COUNTER_BYTES, 0)
    return _command(_NV_READ, (index, index), parameters, session=PASSWORD)


def read_count(response: bytes) -> int:
    """Its value; raises `TpmAnswerError`."""
    body = answer_body(response)
    body.number(4)
    data = body.sized()
    if len(data) != COUNTER_BYTES:
        raise TpmAnswerError("the TPM's counter is no counter")
    return int.from_bytes(data, "big")


def check(response: bytes) -> None:
    """Raises `TpmAnswerError` where a command without an answer was refused."""
    answer_body(response)
