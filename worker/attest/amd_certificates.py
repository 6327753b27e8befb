"""The certificates that an SEV-SNP host shows beside a report (GHCB 2.0, extended guest request).

A table of GUIDs with places of DER in the same blob. The host may show none; then the gateway is
asked. Nothing is believed here: whoever verifies the report verifies these too.
"""

import struct
import uuid
from typing import Final

from bombyx.errors import AttestationError

_ENTRY: Final = struct.Struct("<16sII")
KINDS: Final = {
    uuid.UUID("63da758d-e664-4564-adc5-f4b93be8accd").bytes: "vcek",
    uuid.UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1").bytes: "vlek",
    uuid.UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782").bytes: "ask",
    uuid.UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae").bytes: "ark",
}
"""By the table's own byte order, which is the one in which GUIDs are written."""


def read_table(blob: bytes) -> dict[str, bytes]:
    """The known certificates in DER by kind; empty for an empty blob. Raises `AttestationError`."""
    found: dict[str, bytes] = {}
    for at in range(0, len(blob), _ENTRY.size):
        if at + _ENTRY.size > len(blob):
            raise _malformed("breaks off")
        guid, offset, length = _ENTRY.unpack_from(blob, at)
        if not any(guid):
            return found
        if offset + length > len(blob):
            raise _malformed("points behind its end")
        kind = KINDS.get(guid)
        if kind in found:
            raise _malformed("names a certificate twice")
        if kind is not None and length:
            found[kind] = blob[offset : offset + length]
    if blob:
        raise _malformed("has no end")
    return found


def _malformed(why: str) -> AttestationError:
    return AttestationError(f"the host's table of AMD certificates {why}")
