"""The `open` frame (SPEC 2.8, 5.3): what a worker needs before the sealed frames follow.

`u8 kind | u64be deadline | u16be ticket length | ticket | u32be |H| | H | c(32) | auth(64) | key`
where key is a wrap of 1200 bytes (kind 0) or session id(16) and u64be counter (kind 1). The
deadline is in unix seconds.
"""

import struct
from dataclasses import dataclass

from bombyx.errors import LinkError

MAX_TICKET_BYTES = 512
C_BYTES = 32
AUTH_BYTES = 64
WRAP_BYTES = 1200
SESSION_ID_BYTES = 16
_HEAD = struct.Struct(">BQH")
_U32 = struct.Struct(">I")
_COUNTER = struct.Struct(">Q")


@dataclass(frozen=True, slots=True, repr=False)
class WrappedKey:
    """The sealed tier: the HPKE wrap made for this worker."""

    wrap: bytes


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The bare tier: a counter within a session of this gateway and worker."""

    session: bytes
    counter: int


@dataclass(frozen=True, slots=True, repr=False)
class Open:
    """One request as the gateway hands it to a worker."""

    deadline: int
    ticket: bytes
    header: bytes
    c: bytes
    auth: bytes
    key: WrappedKey | SessionKey


def encode_open(request: Open) -> bytes:
    """Bytes of an open frame."""
    if isinstance(request.key, WrappedKey):
        kind, key = 0, request.key.wrap
    else:
        kind, key = 1, request.key.session + _COUNTER.pack(request.key.counter)
    return b"".join(
        (
            _HEAD.pack(kind, request.deadline, len(request.ticket)),
            request.ticket,
            _U32.pack(len(request.header)),
            request.header,
            request.c,
            request.auth,
            key,
        )
    )


def parse_open(data: bytes) -> Open:
    """Read an open frame; raises `LinkError`."""
    try:
        kind, deadline, ticket_size = _HEAD.unpack_from(data)
        header_at = _HEAD.size + ticket_size + _U32.size
        (header_size,) = _U32.unpack_from(data, header_at - _U32.size)
    except struct.error:
        raise LinkError("an open frame is too short") from None
    c_at = header_at + header_size
    auth_at, key_at = c_at + C_BYTES, c_at + C_BYTES + AUTH_BYTES
    if ticket_size > MAX_TICKET_BYTES or kind not in (0, 1):
        raise LinkError("an open frame has a wrong kind or ticket")
    key = data[key_at:]
    if len(key) != (SESSION_ID_BYTES + _COUNTER.size if kind else WRAP_BYTES):
        raise LinkError("an open frame has a wrong length")
    return Open(
        deadline=deadline,
        ticket=data[_HEAD.size : header_at - _U32.size],
        header=data[header_at:c_at],
        c=data[c_at:auth_at],
        auth=data[auth_at:key_at],
        key=_session_key(key) if kind else WrappedKey(key),
    )


def _session_key(key: bytes) -> SessionKey:
    (counter,) = _COUNTER.unpack_from(key, SESSION_ID_BYTES)
    return SessionKey(key[:SESSION_ID_BYTES], counter)
