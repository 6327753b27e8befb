"""What the CPU's vendor says about a platform: certificates, revocations, TCB levels (SPEC 17).

Nine texts as DCAP names them. The signed ones stay exactly as they were signed, so they are
strings and never parsed again here. Evidence names this document by its digest (SPEC 1.7).
"""

from typing import Annotated

from msgspec import Meta

from bombyx import canonical
from bombyx.canonical import Document

MAX_CHAIN_TEXT = 16 * 1024
"""Two certificates in PEM take about 2 KiB."""
MAX_CRL_TEXT = 1024 * 1024
"""Hex of half a MiB: room for a revocation list of thousands of platforms."""
MAX_SIGNED_TEXT = 256 * 1024
"""TCB info of today's platforms has 2 to 20 KiB."""

Chain = Annotated[str, Meta(min_length=1, max_length=MAX_CHAIN_TEXT)]
# Pairs of digits in the pattern would take memory by the length of the text.
Crl = Annotated[str, Meta(max_length=MAX_CRL_TEXT, pattern=r"\A[0-9a-f]+\Z")]
Signed = Annotated[str, Meta(min_length=1, max_length=MAX_SIGNED_TEXT)]
Signature = Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]


class Collateral(Document, frozen=True):
    """DCAP collateral: chains in PEM, lists in hex DER, signed JSON verbatim, signatures r||s."""

    pck_crl_issuer_chain: Chain
    root_ca_crl: Crl
    pck_crl: Crl
    tcb_info_issuer_chain: Chain
    tcb_info: Signed
    tcb_info_signature: Signature
    qe_identity_issuer_chain: Chain
    qe_identity: Signed
    qe_identity_signature: Signature


def collateral_digest(collateral: Collateral) -> str:
    """Hex SHA-256 of the canonical document: what `Evidence.collateral` names."""
    return canonical.digest(collateral).hex()
