"""What NVIDIA says, out of files beside raw evidence of its devices (SPEC 17.6, 17.10)."""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import MAX_CHAIN_BYTES, DeviceEvidence
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.verify import MAX_DEVICES, NvidiaWord
from bombyx.attestation.vendor import (
    NvidiaReference,
    NvidiaStatus,
    VendorDocument,
    read_document,
    read_file,
)
from bombyx.attestation.wanted import wanted_of_device
from bombyx.errors import CollateralMalformed, EvidenceRefused, EvidenceTooLarge, NotCanonical

MAX_FILE_BYTES: Final = 3 * 1024 * 1024
"""A file of collateral; references and answers have limits of their own."""
MAX_DOCUMENTS: Final = 4096
"""In a file that is read to verify once: more take longer than hostile bytes may."""
_XML, _DER, _JSON = b"<", b"\x30", b"{"
ReadReference = Callable[[bytes], Reference]


def read_word(
    files: Iterable[bytes], evidence: Sequence[DeviceEvidence], read_reference: ReadReference
) -> NvidiaWord:
    """References (XML), OCSP answers (DER), and what files of collateral hold of these devices.

    Raises `EvidenceRefused` for a file that is none of them.
    """
    references: list[bytes] = []
    answers: list[bytes] = []
    for data in files:
        if data.lstrip()[:1] == _XML:
            references.append(data)
        elif data[:1] == _DER:
            answers.append(data)
        elif data[:1] == _JSON:
            _sort(_wanted(data, evidence), references, answers)
        else:
            raise _malformed("it is neither a reference nor an OCSP answer nor a file of these")
    read = [read_reference(one) for one in dict.fromkeys(references)]
    return NvidiaWord(references=read, answers=list(dict.fromkeys(answers)))


def _wanted(data: bytes, evidence: Sequence[DeviceEvidence]) -> list[VendorDocument]:
    """The documents of a file that these devices want; it may hold those of a whole network."""
    if len(data) > MAX_FILE_BYTES:
        raise EvidenceTooLarge(Factor.VENDOR_COLLATERAL, "the collateral is longer than 3 MiB")
    try:
        texts = {item.name: item.document for item in read_file(data, most=MAX_DOCUMENTS).items}
    except (NotCanonical, ValueError) as error:
        raise _malformed(f"it is no file of collateral ({error})") from None
    names = dict.fromkeys(name for one in evidence[:MAX_DEVICES] for name in _names(one))
    return [read_document(name, texts[name].encode()) for name in names if name in texts]


def _names(one: DeviceEvidence) -> tuple[str, ...]:
    if len(one.chain) > MAX_CHAIN_BYTES:
        return ()  # refused for its length
    try:
        return wanted_of_device(one.report, one.chain)
    except (ValueError, EvidenceRefused):
        return ()  # refused for its form


def _sort(
    documents: Iterable[VendorDocument], references: list[bytes], answers: list[bytes]
) -> None:
    for one in documents:
        if isinstance(one, NvidiaReference):
            references.append(one.rim.encode())
        if isinstance(one, NvidiaStatus):
            answers.append(_decoded(one.response))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _malformed("an OCSP answer in it is no base64") from None


def _malformed(why: str) -> CollateralMalformed:
    return CollateralMalformed(Factor.VENDOR_COLLATERAL, f"NVIDIA's word is malformed: {why}")
