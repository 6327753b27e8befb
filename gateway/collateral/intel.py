"""Intel's provisioning certification service, or a PCCS in its place (PCS API, version 4).

The signed JSON is cut out of the answers byte for byte, since its signature covers those bytes;
chains come in headers. One list is published elsewhere: the root's own.
"""

import binascii
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import msgspec

from bombyx.attestation.collateral import (
    MAX_CHAIN_TEXT,
    MAX_CRL_TEXT,
    MAX_SIGNED_TEXT,
    Collateral,
)
from bombyx.errors import RemoteError
from gateway.collateral.vendor_http import VendorAnswer, VendorHttp

_MAX_LIST: Final = MAX_CRL_TEXT // 2
_MAX_JSON: Final = MAX_SIGNED_TEXT + 1024
_SEQUENCE: Final = b"\x30"


class _TcbAnswer(msgspec.Struct):
    tcbInfo: msgspec.Raw  # noqa: N815 - Intel's names
    signature: str


class _IdentityAnswer(msgspec.Struct):
    enclaveIdentity: msgspec.Raw  # noqa: N815
    signature: str


class _TcbInfo(msgspec.Struct):
    id: str
    fmspc: str


@dataclass(frozen=True, slots=True)
class Intel:
    """Where to ask; `root_crl` empty means the PCCS itself, which hands it on."""

    http: VendorHttp
    pcs: str
    root_crl: str

    async def collateral(self, fmspc: str, ca: str) -> Collateral:
        """DCAP collateral of a family; raises `NotFound` or `RemoteError`."""
        root_crl = self.root_crl or f"{self.pcs}/sgx/certification/v4/rootcacrl"
        tdx = f"{self.pcs}/tdx/certification/v4"
        lists = f"{self.pcs}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"
        tcb = await self.http.get(f"{tdx}/tcb?fmspc={fmspc.upper()}", limit=_MAX_JSON)
        identity = await self.http.get(f"{tdx}/qe/identity", limit=_MAX_JSON)
        pck_crl = await self.http.get(lists, limit=_MAX_LIST)
        root = await self.http.get(root_crl, limit=_MAX_LIST)
        try:
            return _put_together(fmspc, tcb, identity, pck_crl, root)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise RemoteError(f"Intel's service answers what cannot be read: {error}") from None


def _put_together(
    fmspc: str, tcb: VendorAnswer, identity: VendorAnswer, pck_crl: VendorAnswer, root: VendorAnswer
) -> Collateral:
    tcb_signed = msgspec.json.decode(tcb.body, type=_TcbAnswer)
    named = msgspec.json.decode(tcb_signed.tcbInfo, type=_TcbInfo)
    if (named.id, named.fmspc.lower()) != ("TDX", fmspc):
        raise ValueError("TCB info of another family than asked for")
    identity_signed = msgspec.json.decode(identity.body, type=_IdentityAnswer)
    fields = {
        "pck_crl_issuer_chain": _chain(pck_crl, "sgx-pck-crl-issuer-chain"),
        "root_ca_crl": _list(root.body),
        "pck_crl": _list(pck_crl.body),
        "tcb_info_issuer_chain": _chain(tcb, "tcb-info-issuer-chain"),
        "tcb_info": bytes(tcb_signed.tcbInfo).decode(),
        "tcb_info_signature": tcb_signed.signature.lower(),
        "qe_identity_issuer_chain": _chain(identity, "sgx-enclave-identity-issuer-chain"),
        "qe_identity": bytes(identity_signed.enclaveIdentity).decode(),
        "qe_identity_signature": identity_signed.signature.lower(),
    }
    return msgspec.convert(fields, Collateral)


def _chain(answer: VendorAnswer, header: str) -> str:
    text = unquote(answer.headers.get(header, ""))
    if not text.startswith("-----BEGIN CERTIFICATE-----") or len(text) > MAX_CHAIN_TEXT:
        raise ValueError(f"no chain of certificates in the header {header}")
    return text


def _list(body: bytes) -> str:
    """A revocation list in hex; a PCCS gives some of them in hex already."""
    if body.startswith(_SEQUENCE):
        return body.hex()
    try:
        return binascii.unhexlify(body.strip()).hex()
    except ValueError:
        raise ValueError("a revocation list that is none") from None
