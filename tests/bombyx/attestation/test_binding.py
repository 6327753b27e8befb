import hashlib

import pytest

from bombyx.attestation.binding import REPORT_DATA_BYTES, gpu_nonce, report_data
from bombyx.attestation.evidence import GpuEvidence

DIGEST = bytes(range(32))
GPU = GpuEvidence(arch="HOPPER", certificate="Yw==", report="cg==")


@pytest.mark.spec("13.5-a")
def test_report_data_without_gpus_holds_the_hash_of_the_empty_list() -> None:
    empty = hashlib.sha256(b"[]").digest()
    wanted = hashlib.sha512(b"bombyx/1/report\0" + DIGEST + empty).digest()
    assert report_data(DIGEST, []) == wanted
    assert len(wanted) == REPORT_DATA_BYTES


@pytest.mark.spec("13.5-a")
def test_report_data_covers_the_canonical_gpu_list() -> None:
    text = b'[{"arch":"HOPPER","certificate":"Yw==","report":"cg=="}]'
    hashed = hashlib.sha256(text).digest()
    assert report_data(DIGEST, [GPU]) == (
        hashlib.sha512(b"bombyx/1/report\0" + DIGEST + hashed).digest()
    )


@pytest.mark.spec("13.5-b")
def test_gpu_nonce_names_keyset_and_place() -> None:
    wanted = hashlib.sha256(b"bombyx/1/gpu\0" + DIGEST + b"\0\0\0\x07").digest()
    assert gpu_nonce(DIGEST, 7) == wanted
    assert gpu_nonce(DIGEST, 0) != gpu_nonce(DIGEST, 1)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_anything_but_a_digest_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        report_data(bytes(size), [])
    with pytest.raises(ValueError, match="32 bytes"):
        gpu_nonce(bytes(size), 0)
