"""Names of what vendors publish, and files of it (SPEC 17.10)."""

import hashlib

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation import vendor
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.vendor import (
    AmdAuthority,
    AmdEndorsement,
    NvidiaReference,
    NvidiaStatus,
    VendorFile,
    VendorItem,
    kind_of,
    read_document,
    read_file,
    tdx_name,
    vcek_name,
    vendor_item,
)
from bombyx.errors import NotCanonical
from tests.bombyx.attestation.world import COLLATERAL

RIM = "nvidia/rim/NV_GPU_DRIVER_GH100_550.144.03"
VCEK = vcek_name("genoa", b"\xab" * 64, bytes(range(8)))
TDX = tdx_name("90C06F000000", "platform")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (TDX, Collateral),
        ("tdx/90c06f000000/processor", Collateral),
        (VCEK, AmdEndorsement),
        ("sev-snp/turin/vlek", AmdAuthority),
        (RIM, NvidiaReference),
        (f"nvidia/ocsp/{'0a' * 48}/{'0b' * 48}/0102", NvidiaStatus),
    ],
)
def test_a_name_stands_for_one_kind_of_document(name: str, kind: type) -> None:
    assert kind_of(name) is kind
    for other in (name + "\n", name + "/", " " + name, name + "?x", name.upper() + "!"):
        with pytest.raises(ValueError, match="names no collateral"):
            kind_of(other)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tdx/90c06f00000/platform",
        "tdx/90c06f000000/root",
        "sev-snp/rome/vcek",
        f"sev-snp/milan/{'ab' * 63}/{'00' * 8}",
        "nvidia/rim/" + "a" * 121,
        "nvidia/rim/a/b",
        f"nvidia/ocsp/{'0a' * 48}/{'0b' * 48}/",
        f"nvidia/ocsp/{'0a' * 48}/{'0b' * 48}/{'00' * 21}",
        "tdx/٩0c06f000000/platform",
    ],
)
def test_any_other_text_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="names no collateral"):
        kind_of(name)


def test_a_document_is_of_its_names_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_document(TDX, canonical.encode(COLLATERAL)) == COLLATERAL
    with pytest.raises(NotCanonical):
        read_document(VCEK, canonical.encode(COLLATERAL))
    monkeypatch.setattr(vendor, "MAX_DOCUMENT_BYTES", 3)
    with pytest.raises(NotCanonical, match="longer than any"):
        read_document(TDX, canonical.encode(COLLATERAL))


def item(name: str, document: msgspec.Struct) -> VendorItem:
    return vendor_item(name, canonical.encode(document), fetched_at=1, next_update=2)


def file(*items: VendorItem) -> bytes:
    return canonical.encode(VendorFile(v="bombyx-collateral/1", items=list(items)))


REFERENCE = item(RIM, NvidiaReference(rim="<a/>"))
ENDORSEMENT = item(VCEK, AmdEndorsement(certificate="AAAA"))


def test_a_file_is_read_as_it_was_written() -> None:
    found = read_file(file(REFERENCE, ENDORSEMENT))
    assert [one.name for one in found.items] == [RIM, VCEK]
    assert found.items[0].digest == hashlib.sha256(b'{"rim":"<a/>"}').hexdigest()
    assert read_file(file()).items == []


@pytest.mark.spec("17.10-c")
@pytest.mark.parametrize(
    "items",
    [
        (ENDORSEMENT, REFERENCE),
        (REFERENCE, REFERENCE),
        (msgspec.structs.replace(REFERENCE, digest="00" * 32),),
        (msgspec.structs.replace(REFERENCE, document='{"rim":"<b/>"}'),),
        (msgspec.structs.replace(REFERENCE, name=VCEK),),
        (msgspec.structs.replace(REFERENCE, name="rim"),),
        (item(RIM, AmdEndorsement(certificate="AAAA")),),
        (REFERENCE, msgspec.structs.replace(ENDORSEMENT, digest="00" * 32)),
    ],
)
def test_a_file_with_one_bad_document_is_refused_whole(items: tuple[VendorItem, ...]) -> None:
    with pytest.raises((NotCanonical, ValueError)):
        read_file(file(*items))
