"""Every genuine file of evidence, to be changed byte by byte: what may change, and what may not.

`unsigned` are the bytes that nobody signed and that may change without refusal: what a tool wrote
around evidence. What is claimed must never depend on them.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bombyx.attestation.checklist import Verdict
from tests.bombyx.attestation import tee

Examine = Callable[[bytes], Verdict]
DSTACK_SNP = tee.file("dstack/sev-snp-attestation.json")
REFERENCE = tee.file("nvidia/rims/NV_GPU_DRIVER_GH100_550.144.03.xml")


@dataclass(frozen=True)
class Target:
    """Bytes, how they are examined, and which of them nobody signed."""

    name: str
    data: bytes
    examine: Examine
    unsigned: range = range(0)


def _part_of(name: str, key: str) -> Iterator[Target]:
    """A field of NVIDIA's JSON by itself, so that its own bytes change."""
    (entry,) = tee.document(f"nvidia/{name}.json")

    def examine(data: bytes) -> Verdict:
        changed = {**entry, key: base64.b64encode(data).decode()}
        return tee.nvidia(json.dumps([changed]).encode())

    data = base64.b64decode(entry[key])
    may_lack = _last_line_end(data) if key == "certificate" else range(0)
    yield Target(f"{name} {key}", data, examine, may_lack)


def _last_line_end(data: bytes) -> range:
    """The end of the last line, which some tools leave out."""
    return range(len(data) - 1, len(data)) if data.endswith(b"\n") else range(0)


def _collateral(data: bytes) -> Verdict:
    return tee.tdx(collateral=data)


def _attestation() -> tuple[bytes, range]:
    """dstack's blob; behind report and certificates stands what nobody signed."""
    blob = bytes.fromhex(json.loads(DSTACK_SNP)["attestation"])
    end = blob.rindex(b"-----END CERTIFICATE-----\n") + len(b"-----END CERTIFICATE-----\n")
    return blob, range(end, len(blob))


def _wrapped(blob: bytes) -> Verdict:
    data = json.dumps({"attestation": blob.hex()}).encode()
    return tee.snp(data, tee.JULY_2026, certificates=[])


def _targets() -> Iterator[Target]:
    # The zeros behind a quote may be left out, and be nothing else.
    padding = range(tee.QUOTE_BYTES, len(tee.COCOON))
    yield Target("TDX quote", tee.COCOON, tee.tdx, padding)
    end = _last_line_end(tee.COLLATERAL)
    yield Target("TDX collateral", tee.COLLATERAL, _collateral, end)
    yield Target("SNP report", tee.MILAN, tee.snp)
    yield Target("SNP certificate", tee.VCEK, lambda data: tee.snp(certificates=[data]))
    blob, tail = _attestation()
    yield Target("SNP report of dstack", blob, _wrapped, tail)
    for name in ("hopper_evidence", "hopper_evidence_cert_hold", "switch_evidence_ls10"):
        for key in ("evidence", "certificate"):
            yield from _part_of(name, key)
        whole = tee.file(f"nvidia/{name}.json")
        yield Target(f"{name} file", whole, tee.nvidia, _last_line_end(whole))


TARGETS = tuple(_targets())


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """One bit turned."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def accepted_flips(target: Target, places: range) -> list[int]:
    """The bytes whose change was accepted although somebody signed them, or that changed claims."""
    honest = target.examine(target.data)
    if not honest.ok:
        raise AssertionError(f"{target.name}: refused unchanged")
    wrong = []
    for at in places:
        verdict = target.examine(flipped(target.data, at, at % 8))
        if verdict.ok and (at not in target.unsigned or verdict.claims != honest.claims):
            wrong.append(at)
    return wrong


def accepted_cuts(target: Target, lengths: range) -> list[int]:
    """The lengths at which a file that was cut short was accepted."""
    return [
        length
        for length in lengths
        if length not in target.unsigned and target.examine(target.data[:length]).ok
    ]
