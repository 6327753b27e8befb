import dcap_qvl  # type: ignore[import-untyped]
import pytest

from tests.bombyx.attestation.world import NOW, ROOT
from worker.attest.sgx_extension import OID, PlatformDescription, encode_extension
from worker.attest.simulated_certificates import issue_leaf, pem_chain


def described(**changes: object) -> PlatformDescription:
    fields: dict[str, object] = {
        "ppid": bytes(range(16)),
        "instance": bytes(range(16, 32)),
        "fmspc": b"abcdef",
        "cpu_svn": (1, 127, 128, 255) + (0,) * 12,
        "pce_svn": 300,
    }
    return PlatformDescription(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_dcap_library_reads_what_was_written() -> None:
    platform = described()
    leaf = issue_leaf("leaf", ROOT.authority, now=NOW, platform=platform)
    read = dcap_qvl.parse_pck_extension_from_pem(pem_chain(leaf.certificate))
    assert read.ppid == platform.ppid
    assert read.platform_instance_id == platform.instance
    assert read.fmspc == platform.fmspc
    assert read.cpu_svn == bytes(platform.cpu_svn)
    assert (read.pce_svn, read.pce_id, read.sgx_type) == (300, b"\0\0", 1)


@pytest.mark.parametrize(("svn", "der"), [(0, "00"), (127, "7f"), (128, "0080"), (300, "012c")])
def test_versions_are_minimal_integers(svn: int, der: str) -> None:
    value = encode_extension(described(pce_svn=svn))
    entry = bytes.fromhex("060b2a864886f84d010d010211") + bytes([2, len(der) // 2])
    assert entry + bytes.fromhex(der) in value


def test_the_oid_is_intels() -> None:
    assert OID == "1.2.840.113741.1.13.1"
    assert bytes.fromhex("060a2a864886f84d010d0101") in encode_extension(described())
