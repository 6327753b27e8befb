"""Reads NVIDIA's reference measurements: signed XML, one form only (SPEC 17.6).

Needs the extra `gpu-rim`. The signature is checked here and not by an XML-DSig library, since those
take the certificates' dates from the wall clock; all that NVIDIA uses is one enveloped signature
over the whole document. Nothing outside of the document that was digested is ever read.
"""

import base64
import binascii
import hashlib
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree  # type: ignore[import-untyped]  # its stubs are a package of their own

from bombyx.attestation.certificates import Certificate
from bombyx.attestation.chains import Blame, ec_key, verify_chain
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.roots import RIM_ROOT
from bombyx.errors import (
    CollateralAltered,
    CollateralChain,
    CollateralExpired,
    CollateralFromFuture,
    CollateralMalformed,
    EvidenceTooLarge,
)

MAX_RIM_BYTES = 128 * 1024
"""Measured ones have 20 KiB."""
_FACTOR: Final = Factor.NVIDIA_FIRMWARE
BLAME: Final = Blame(
    _FACTOR,
    "the reference's certificate chain",
    broken=CollateralChain,
    root=CollateralChain,
    expired=CollateralExpired,
    early=CollateralFromFuture,
)
_DS, _SWID = (
    "{http://www.w3.org/2000/09/xmldsig#}",
    "{http://standards.iso.org/iso/19770/-2/2015/schema.xsd}",
)
_HASH = "{http://www.w3.org/2001/04/xmlenc#sha384}Hash"
_C14N: Final = (
    "http://www.w3.org/2006/12/xml-c14n11",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
)
_ENVELOPED: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_ECDSA_SHA384: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
_SHA384: Final = "http://www.w3.org/2001/04/xmldsig-more#sha384"
_SIGNATURE_BYTES, _DIGEST_BYTES = 96, 48
_MOST_RESOURCES = 256
_MOST_CERTIFICATES = 6


def parse_rim(data: bytes, *, now: int, root: bytes = RIM_ROOT) -> Reference:
    """A reference whose signature leads to NVIDIA's root; refuses at `nvidia_firmware`."""
    if len(data) > MAX_RIM_BYTES:
        raise EvidenceTooLarge(_FACTOR, "the reference is longer than 128 KiB")
    if b"<!" in data or b"<?" in data.removeprefix(b"<?xml"):
        # No comments, entities or instructions: they would be read otherwise than digested.
        raise _malformed("it holds more than elements")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=False)
    try:
        document = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        raise _malformed("it is no XML") from None
    signature = _only(document.findall(_DS + "Signature"))
    certificates = _certificates(signature, root, now=now)
    _check_signature(signature, certificates[0])
    _check_digest(document, signature)
    ends = min(one.not_after.timestamp() for one in certificates)
    return Reference(_version(document), _golden(document), int(ends))


def _certificates(signature: Any, root: bytes, *, now: int) -> tuple[Certificate, ...]:
    texts = [one.text or "" for one in signature.iter(_DS + "X509Certificate")]
    if not 0 < len(texts) <= _MOST_CERTIFICATES:
        raise _malformed("it does not have its signer's certificates")
    chain = [_bytes(text) for text in texts]
    if chain[-1] != root:
        # References leave their root out.
        chain.append(root)
    return verify_chain(chain, root, now=now, blame=BLAME)


def _check_signature(signature: Any, signer: Certificate) -> None:
    info = _only(signature.findall(_DS + "SignedInfo"))
    if (_method(info, "CanonicalizationMethod") not in _C14N) or (
        _method(info, "SignatureMethod") != _ECDSA_SHA384
    ):
        raise _malformed("it is signed in another way")
    raw = _bytes(_only(signature.findall(_DS + "SignatureValue")).text or "")
    if len(raw) != _SIGNATURE_BYTES:
        raise _malformed("its signature is of another form")
    half = _SIGNATURE_BYTES // 2
    r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
    try:
        signature_der = encode_dss_signature(r, s)
        ec_key(signer, BLAME).verify(signature_der, _canonical(info), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise CollateralAltered(_FACTOR, "the reference is not signed by its signer") from None


def _check_digest(root: Any, signature: Any) -> None:
    """The document without its signature is what was signed; `root` loses its signature here."""
    info = _only(signature.findall(_DS + "SignedInfo"))
    reference = _only(info.findall(_DS + "Reference"))
    transforms = [one.get("Algorithm") for one in reference.iter(_DS + "Transform")]
    if (
        reference.get("URI") != ""
        or transforms[:1] != [_ENVELOPED]
        or any(one not in _C14N for one in transforms[1:])
        or _method(reference, "DigestMethod") != _SHA384
    ):
        raise _malformed("it is digested in another way")
    wanted = _bytes(_only(reference.findall(_DS + "DigestValue")).text or "")
    _remove(root, signature)
    if hashlib.sha384(_canonical(root)).digest() != wanted:
        raise CollateralAltered(_FACTOR, "the reference is not what its signer signed")


def _remove(root: Any, signature: Any) -> None:
    # The text behind an element belongs to its parent, and lxml would take it along.
    before = signature.getprevious()
    if before is None:
        root.text = (root.text or "") + (signature.tail or "")
    else:
        before.tail = (before.tail or "") + (signature.tail or "")
    root.remove(signature)


def _canonical(element: Any) -> bytes:
    found: bytes = etree.tostring(element, method="c14n", with_tail=False)
    return found


def _version(root: Any) -> str:
    text = _only(root.findall(_SWID + "Meta")).get("colloquialVersion")
    if not text:
        raise _malformed("it names no version")
    return str(text)


def _golden(root: Any) -> dict[int, tuple[bytes, ...]]:
    """The values of active measurements; inactive ones may be anything."""
    payload = _only(root.findall(_SWID + "Payload"))
    found: dict[int, tuple[bytes, ...]] = {}
    resources = payload.findall(_SWID + "Resource")
    if len(resources) > _MOST_RESOURCES:
        raise _malformed("it has too many measurements")
    for one in resources:
        if one.get("type") != "Measurement" or one.get("active") != "True":
            continue
        index = one.get("index", "")
        values = [value for name, value in one.attrib.items() if name.startswith(_HASH)]
        if not index.isdecimal() or not values or int(index) in found:
            raise _malformed("a measurement is of another form, or comes twice")
        found[int(index)] = tuple(_digest(value) for value in values)
    if not found:
        raise _malformed("it says of no measurement what it must be")
    return found


def _digest(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != _DIGEST_BYTES:
        raise _malformed("a value is no digest")
    return value


def _method(parent: Any, name: str) -> str:
    return str(_only(parent.findall(_DS + name)).get("Algorithm"))


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("it holds what is no base64") from None


def _only(found: list[Any]) -> Any:
    if len(found) != 1:
        raise _malformed("an element is missing, or comes twice")
    return found[0]


def _malformed(why: str) -> CollateralMalformed:
    return CollateralMalformed(_FACTOR, f"the reference is malformed: {why}")
