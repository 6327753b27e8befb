import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from bombyx.attestation.pem import MAX_CERTIFICATES, split_certificates, to_pem
from tests.bombyx.attestation.world import ROOT
from worker.attest.simulated_certificates import pem_chain

PEM = to_pem(bytes(200))


def test_equals_what_openssl_writes() -> None:
    assert pem_chain(x509.load_der_x509_certificate(ROOT.der)) == to_pem(ROOT.der)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=MAX_CERTIFICATES))
def test_split_is_the_inverse_of_joining(chain: list[bytes]) -> None:
    assert split_certificates(b"".join(map(to_pem, chain))) == chain


@pytest.mark.spec("17.1-e")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no certificate",
        PEM * (MAX_CERTIFICATES + 1),
        PEM + b"\n",
        b" " + PEM,
        PEM.replace(b"\n", b"\r\n"),
        PEM.replace(b"-----END", b"\n-----END"),
        PEM[:-1],
        PEM.replace(b"=", b""),
        PEM.replace(b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN CERTIFICATE-----\nA"),
        PEM.replace(b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN CERTIFICATE-----\n\xff"),
    ],
)
def test_any_other_spelling_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"chain|canonical|base64"):
        split_certificates(text)
