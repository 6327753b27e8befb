"""Signed references of NVIDIA's, each with one thing wrong, under a root of our own."""

import base64
import hashlib
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree  # type: ignore[import-untyped]

from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.rim import MAX_RIM_BYTES, parse_rim
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation.gpus import NOW, ROOT, certificate, key

SIGNER = certificate("SIGNER", "OURS", key("signer"), key("root"), ca=False)
C14N = "http://www.w3.org/2006/12/xml-c14n11"
RESOURCE = (
    '<Resource type="Measurement" index="0" active="True" alternatives="1" '
    f'h:Hash0="{"11" * 48}" name="a" size="48"/>'
)
BODY = (
    '<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" '
    'xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384">'
    '<Meta colloquialVersion="590.12"/>\n<Payload>{resources}</Payload>\n'
    "{signature}tail</SoftwareIdentity>"
)
INFO = (
    '<SignedInfo><CanonicalizationMethod Algorithm="{c14n}"/><SignatureMethod '
    'Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/><Reference URI="{uri}">'
    '<Transforms><Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
    '</Transforms><DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/>'
    "<DigestValue>{digest}</DigestValue></Reference></SignedInfo>"
)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sign(
    resources: str = RESOURCE,
    *,
    body: str = BODY,
    info: str = INFO,
    c14n: str = C14N,
    uri: str = "",
    certificates: tuple[bytes, ...] = (SIGNER,),
    value: bytes | None = None,
) -> bytes:
    """A document with its signature in it."""
    bare = etree.fromstring(body.format(resources=resources, signature="").encode())
    digest = hashlib.sha384(etree.tostring(bare, method="c14n")).digest()
    said = info.format(c14n=c14n, uri=uri, digest=b64(digest))
    x509 = "".join(f"<X509Certificate>{b64(one)}</X509Certificate>" for one in certificates)

    def signature(raw: bytes) -> str:
        return (
            f'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">{said}<SignatureValue>'
            f"{b64(raw)}</SignatureValue><KeyInfo><X509Data>{x509}</X509Data></KeyInfo></Signature>"
        )

    first = etree.fromstring(body.format(resources=resources, signature=signature(b"")).encode())
    within = first.find(".//{http://www.w3.org/2000/09/xmldsig#}SignedInfo")
    data = b"" if within is None else etree.tostring(within, method="c14n", with_tail=False)
    r, s = decode_dss_signature(key("signer").sign(data, ec.ECDSA(hashes.SHA384())))
    raw = r.to_bytes(48, "big") + s.to_bytes(48, "big") if value is None else value
    return body.format(resources=resources, signature=signature(raw)).encode()


def read(data: bytes, now: int = NOW) -> Reference:
    return parse_rim(data, now=now, root=ROOT)


def test_an_honest_reference_is_read() -> None:
    found = read(sign())
    assert (found.version, found.golden) == ("590.12", {0: (b"\x11" * 48,)})
    assert found.expires_at == NOW + 300 * 86400
    assert read(sign(certificates=(SIGNER, ROOT))) == found


INACTIVE = RESOURCE.replace('"True"', '"False"')
FIRST = BODY.replace("<Meta", "{signature}<Meta", 1).replace("{signature}tail", "tail")
FAULTS: list[tuple[str, bytes, str]] = [
    ("too long", bytes(MAX_RIM_BYTES + 1), "evidence_too_large"),
    ("no XML", b"<a", "collateral_malformed"),
    ("an entity", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "collateral_malformed"),
    ("a comment", sign().replace(b"tail", b"<!-- -->"), "collateral_malformed"),
    ("an instruction", sign().replace(b"tail", b"<?a?>"), "collateral_malformed"),
    ("no signature", b"<a/>", "collateral_malformed"),
    ("changed", sign().replace(b"11" * 48, b"12" * 48), "collateral_altered"),
    ("changed behind its signature", sign().replace(b"tail", b"tale"), "collateral_altered"),
    ("a digest changed", sign(info=INFO).replace(b"<DigestValue>", b"<DigestValue> "),
     "collateral_altered"),
    ("another signer", sign(certificates=(certificate("S", "OURS", key("x"), key("root"),
                                                      ca=False),)), "collateral_altered"),
    ("another authority", sign(certificates=(certificate("S", "OURS", key("signer"), key("x"),
                                                         ca=False),)), "collateral_chain"),
    ("no certificate", sign(certificates=()), "collateral_malformed"),
    ("certificates of garbage", sign(certificates=(b"x",)), "collateral_chain"),
    ("a short signature", sign(value=b"x"), "collateral_malformed"),
    ("another canonical form", sign(c14n="urn:other"), "collateral_malformed"),
    ("another part", sign(uri="#a"), "collateral_malformed"),
    ("another digest", sign(info=INFO.replace("more#sha384", "more#sha224")),
     "collateral_malformed"),
    ("another transform", sign(info=INFO.replace("</Transforms>",
                                                 '<Transform Algorithm="x"/></Transforms>')),
     "collateral_malformed"),
    ("no transform", sign(info=INFO.replace("#enveloped-signature", "#base64")),
     "collateral_malformed"),
    ("no base64", sign().replace(b"<SignatureValue>", b"<SignatureValue>?"),
     "collateral_malformed"),
    ("no version", sign(body=BODY.replace("colloquialVersion", "x")), "collateral_malformed"),
    ("no measurements", sign(INACTIVE), "collateral_malformed"),
    ("only other resources", sign(RESOURCE.replace("Measurement", "Other")),
     "collateral_malformed"),
    ("a measurement twice", sign(RESOURCE * 2), "collateral_malformed"),
    ("a measurement without a place", sign(RESOURCE.replace('"0"', '"-1"')),
     "collateral_malformed"),
    ("a measurement without a value", sign(RESOURCE.replace("h:Hash0", "h:Hush")),
     "collateral_malformed"),
    ("a value that is no digest", sign(RESOURCE.replace("11" * 48, "11")),
     "collateral_malformed"),
    ("a value that is no hex", sign(RESOURCE.replace("11" * 48, "zz")), "collateral_malformed"),
    ("too many measurements", sign(INACTIVE * 257), "collateral_malformed"),
]  # fmt: skip


@pytest.mark.spec("17.6-b")
@pytest.mark.parametrize(
    ("data", "refused"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_each_fault_has_its_code(data: bytes, refused: str) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        read(data)
    assert caught.value.code == refused


def test_dates_are_judged_at_the_given_time() -> None:
    for now, refused in (
        (NOW - 31 * 86400, "collateral_from_future"),
        (NOW + 301 * 86400, "collateral_expired"),
    ):
        with pytest.raises(EvidenceRefused) as caught:
            read(sign(), now)
        assert caught.value.code == refused


def test_a_signature_may_stand_first_and_nothing_else_moves() -> None:
    found = read(sign(body=FIRST.replace("{signature}", "{signature}\n")))
    assert found.version == "590.12"


def test_a_deep_or_wide_document_is_refused_in_time() -> None:
    deep = b"<a>" * 40_000
    wide = b"<a>" + b"<b c='d'/>" * 12_000 + b"</a>"
    for data in (deep, wide):
        begin = time.process_time()
        with pytest.raises(EvidenceRefused):
            read(data)
        assert time.process_time() - begin < 1
