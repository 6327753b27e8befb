"""Making the gateway's certificate: a fresh key, a quote over it, both in memory (SPEC 17.11)."""

import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import UNSET

from bombyx.attestation.collateral import collateral_digest
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.pem import to_pem
from bombyx.attestation.ratls.certificate import issue_certificate, public_key_der
from bombyx.attestation.ratls.claims import GatewayClaims, Subject, ratls_report_data
from gateway.collateral.lives import next_update_of
from gateway.ratls.quoter import Quote, Quoter

EARLY_SECONDS: Final = 300
"""A certificate begins so long before it is made: clients' clocks may be behind."""


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """A certificate (DER) and its key; good until `expires_at` (unix seconds)."""

    key: ec.EllipticCurvePrivateKey
    certificate: bytes
    expires_at: int


async def make_certificate(quoter: Quoter, gateway: str, *, now: int, life_seconds: int) -> Issued:
    """A certificate of at most that life; shorter where what it rests on ends sooner.

    Raises `AttestationError` where the machine gives no quote. `now` in unix seconds.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = Subject(
        gateway=gateway,
        public_key=public_key_der(key.public_key()),
        not_before=now - EARLY_SECONDS,
        not_after=now + life_seconds,
    )
    quote = await quoter.quote(ratls_report_data(subject))
    claims = GatewayClaims(
        v="bombyx/1",
        role="gateway",
        gateway=gateway,
        evidence=_evidence(quoter.platform, quote),
        collateral=UNSET if quote.collateral is None else quote.collateral,
    )
    serial = x509.random_serial_number()
    certificate = issue_certificate(key, claims, subject, serial=serial)
    return Issued(key, certificate, min(subject.not_after, _end_of(quote, subject.not_after)))


def _evidence(platform: str, quote: Quote) -> Evidence:
    return Evidence(
        platform=platform,
        quote=base64.b64encode(quote.raw).decode(),
        gpus=[],
        collateral=UNSET if quote.collateral is None else collateral_digest(quote.collateral),
    )


def _end_of(quote: Quote, otherwise: int) -> int:
    """When clients will find the collateral too old; dates that nobody can read are theirs."""
    if quote.collateral is None:
        return otherwise
    try:
        return next_update_of(quote.collateral, fetched_at=otherwise)
    except ValueError:
        return otherwise


def server_context() -> ssl.SSLContext:
    """TLS 1.3 without tickets: whoever comes again shows and sees a certificate again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def load_into(context: ssl.SSLContext, issued: Issued) -> None:
    """Let new handshakes use the certificate; connections that stand keep what they have."""
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _nameless(key + to_pem(issued.certificate)) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def _nameless(content: bytes) -> Iterator[str]:
    """A path to content that is in no folder: OpenSSL's binding reads keys from paths alone."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("ra-tls"), "wb", buffering=0) as file:  # noqa: PTH123 - no path
            file.write(content)
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as named:  # its owner's alone, and gone at once
        named.write(content)
        named.flush()
        yield named.name
