"""Event logs: how measuring registers came to be what a quote says (SPEC 17.9).

A log's own digests prove nothing: they would replay just as well beside another payload. So the
digest of each runtime event is computed from its payload, and one that is stated must agree.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from bombyx.attestation.factors import Factor
from bombyx.errors import EventLogMismatch, EvidenceMalformed, EvidenceTooLarge

MAX_LOG_BYTES = 256 * 1024
MAX_EVENTS = 2048
RUNTIME_EVENT: Final = 0x08000001
"""The type of dstack's events in RTMR3, of the first form."""
_REGISTER_BYTES = 48
_REGISTERS = 4
_RUNTIME_REGISTER = 3
_Hex = Annotated[str, msgspec.Meta(max_length=64 * 1024, pattern=r"\A[0-9a-f]*\Z")]


class Event(msgspec.Struct, frozen=True):
    """One event; digest and payload in hex, the digest empty where it was left out."""

    imr: Annotated[int, msgspec.Meta(ge=0, lt=_REGISTERS)]
    event_type: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    digest: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{2}){0,48}\Z")]
    event: Annotated[str, msgspec.Meta(max_length=1024)]
    event_payload: _Hex

    def __post_init__(self) -> None:
        """Raises `ValueError` for half a byte: in a pattern this takes memory without bounds."""
        if len(self.event_payload) % 2:
            raise ValueError("a payload ends in half a byte")


_decoder = msgspec.json.Decoder(Annotated[list[Event], msgspec.Meta(max_length=MAX_EVENTS)])


def parse_event_log(data: bytes) -> tuple[Event, ...]:
    """Read a log; refuses at `event_log_integrity`."""
    factor = Factor.EVENT_LOG_INTEGRITY
    if len(data) > MAX_LOG_BYTES:
        raise EvidenceTooLarge(factor, "the event log is longer than 256 KiB")
    try:
        return tuple(_decoder.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise EvidenceMalformed(factor, "the event log cannot be read") from None


def check_event_log(events: Sequence[Event], registers: Sequence[bytes]) -> None:
    """The events lead to the registers (RTMR0 to RTMR3), digests computed from payloads."""
    replayed = replay(events)
    wrong = [f"RTMR{index}" for index in range(_REGISTERS) if replayed[index] != registers[index]]
    if wrong:
        raise EventLogMismatch(
            Factor.EVENT_LOG_INTEGRITY, f"the event log does not lead to {', '.join(wrong)}"
        )


def replay(events: Sequence[Event]) -> list[bytes]:
    """The four registers after all events; refuses an event whose digest is not its payload's."""
    registers = [bytes(_REGISTER_BYTES)] * _REGISTERS
    for event in events:
        digest = _digest(event).ljust(_REGISTER_BYTES, b"\0")
        registers[event.imr] = hashlib.sha384(registers[event.imr] + digest).digest()
    return registers


def _digest(event: Event) -> bytes:
    stated = bytes.fromhex(event.digest)
    if event.imr != _RUNTIME_REGISTER:
        # Firmware's and kernel's events: their payload is not what was measured.
        return stated
    made = runtime_digest(event)
    if stated and stated != made:
        raise EventLogMismatch(
            Factor.EVENT_LOG_INTEGRITY, "the digest of a runtime event is not its payload's"
        )
    return made


def runtime_digest(event: Event) -> bytes:
    """48 bytes of a runtime event: its type, name and payload (dstack's first form)."""
    said = event.event_type.to_bytes(4, "little") + b":" + event.event.encode() + b":"
    return hashlib.sha384(said + bytes.fromhex(event.event_payload)).digest()


def runtime_event(events: Sequence[Event], name: str) -> bytes | None:
    """The payload of the only runtime event of a name; None where there is none or two."""
    found = [event for event in events if event.imr == _RUNTIME_REGISTER and event.event == name]
    return bytes.fromhex(found[0].event_payload) if len(found) == 1 else None
