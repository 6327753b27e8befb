"""Files of tools: every form that is known, and nothing of any other."""

import base64
import json
import time
import tracemalloc
from typing import Any

import pytest

from bombyx.attestation.nonce import padded
from bombyx.attestation.raw_files import (
    MAX_EVIDENCE_BYTES,
    read_certificates,
    read_nvidia,
    read_snp,
)
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import tee

(ENTRY,) = tee.document("nvidia/hopper_evidence.json")
BLOB = bytes.fromhex(tee.document("dstack/sev-snp-attestation.json")["attestation"])
HOSTILE_SECONDS, HOSTILE_BYTES = 0.5, 32 * 2**20
"""Ten times the bound that is promised: other tests run beside this one."""


def listed(*entries: dict[str, Any]) -> bytes:
    return json.dumps(entries).encode()


def test_both_forms_of_nvidias_tools_are_read() -> None:
    first = read_nvidia(listed(ENTRY), None)
    whole = {
        "nonce": ENTRY["nonce"],
        "arch": "HOPPER",
        "evidence_list": [{key: ENTRY[key] for key in ("certificate", "evidence")}],
        "version": "1",
    }
    assert read_nvidia(json.dumps(whole).encode(), None) == first
    assert read_nvidia(listed(ENTRY), b"n" * 32)[0].nonce == b"n" * 32


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[{}]",
        b"\xff",
        b"[" * 100_000,
        listed({key: value for key, value in ENTRY.items() if key != "arch"}),
        listed({key: value for key, value in ENTRY.items() if key != "nonce"}),
        listed({**ENTRY, "nonce": ENTRY["nonce"].upper()}),
        listed({**ENTRY, "nonce": "0"}),
        listed({**ENTRY, "evidence": ""}),
        listed({**ENTRY, "evidence": "?"}),
        listed({**ENTRY, "evidence": "é"}),
        listed({**ENTRY, "evidence": "QR=="}),
    ],
)
def test_other_forms_of_devices_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        read_nvidia(data, None)
    assert caught.value.code == "evidence_malformed"


def wrapped(blob: bytes) -> bytes:
    return json.dumps({"attestation": blob.hex()}).encode()


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0\4" + BLOB[2:],
        BLOB[:2],
        BLOB[:3],
        BLOB[:100],
        BLOB[:2] + b"\3" + BLOB[3:],
        BLOB[:2] + b"\4\0" + BLOB[4:],
        BLOB[: 4 + 1184] + b"\xfc" + BLOB[5 + 1184 :],
        BLOB[: 4 + 1184],
        BLOB.replace(b"BEGIN", b"BEGUN", 1),
    ],
)
def test_other_forms_of_dstacks_attestation_are_refused(blob: bytes) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        read_snp(wrapped(blob), [], None)
    assert caught.value.code == "evidence_malformed"


def test_certificates_come_in_der_or_pem_with_text_between() -> None:
    pem = tee.file("snp/ask_ark_milan.pem")
    assert len(read_certificates(b"AMD's:\n" + pem.replace(b"\n", b"\r\n"))) == 2
    assert read_certificates(tee.VCEK) == [tee.VCEK]
    with pytest.raises(EvidenceRefused):
        read_certificates(b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize("nonce", [b"", bytes(65)])
def test_a_nonce_fits_into_report_data(nonce: bytes) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        padded(nonce)
    assert padded(b"n") == b"n" + bytes(63)


def hostile() -> dict[str, tuple[str, bytes]]:
    """The largest that is read at all, in the forms that cost most."""
    room = MAX_EVIDENCE_BYTES
    device = {**ENTRY, "evidence": base64.b64encode(bytes(45_000)).decode()}
    chain = b"-----BEGIN CERTIFICATE-----\n" * 30_000
    return {
        "zeros": ("tdx", bytes(room)),
        "brackets": ("nvidia", b"[" * room),
        "objects": ("tdx", b'{"a":' * (room // 5)),
        "hex": ("tdx", b"0" * room),
        "nearly hex": ("tdx", b"00" * (room // 2 - 1) + b"x"),
        "hex of one length": ("tdx", b"00" * 32_000),
        "a log": ("tdx", json.dumps({"quote": "00", "event_log": ["x"] * 200_000}).encode()),
        "devices": ("nvidia", listed(*[ENTRY] * (room // 14_000))),
        "sixteen devices": ("nvidia", listed(*[device] * 14)),
        "certificates": (
            "nvidia",
            listed({**ENTRY, "certificate": base64.b64encode(chain[:700_000]).decode()}),
        ),
        "an attestation": ("snp", wrapped(b"\0\3" + bytes(500_000))),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_files_cost_little(name: str) -> None:
    kind, data = hostile()[name]
    begin = time.process_time()
    verdict = tee.examine(kind, data, tee.JUNE_2026)
    spent = time.process_time() - begin
    tracemalloc.start()
    tee.examine(kind, data, tee.JUNE_2026)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not verdict.ok
    assert spent < HOSTILE_SECONDS
    assert peak < HOSTILE_BYTES


@pytest.mark.parametrize("field", ["pck_crl", "root_ca_crl", "tcb_info", "qe_identity"])
def test_hostile_collateral_costs_little(field: str) -> None:
    size = 2**20 if field.endswith("crl") else 256 * 2**10
    large = {**json.loads(tee.COLLATERAL), field: "00" * (size // 2)}
    data = json.dumps(large).encode()
    begin = time.process_time()
    verdict = tee.tdx(collateral=data)
    spent = time.process_time() - begin
    tracemalloc.start()
    tee.tdx(collateral=data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not verdict.ok
    assert spent < HOSTILE_SECONDS
    assert peak < HOSTILE_BYTES


def test_half_a_byte_of_a_list_is_refused() -> None:
    for field in ("pck_crl", "root_ca_crl"):
        odd = {**json.loads(tee.COLLATERAL), field: "000"}
        verdict = tee.tdx(collateral=json.dumps(odd).encode())
        assert tee.code(verdict) == "collateral_malformed"
