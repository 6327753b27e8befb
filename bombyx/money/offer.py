"""What a worker asks for its tokens (SPEC 1.7): a signed promise, kept until `valid_until`."""

from typing import Annotated, Literal

from msgspec import Meta

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.signing import Kind, Signer, verify
from bombyx.units import Count, Hex32, Hex64, Name, NanoText


class Prices(Document, frozen=True):
    """Nano per one million tokens of each class, as decimal strings."""

    prompt: NanoText
    cached: NanoText
    completion: NanoText
    reasoning: NanoText


class Offer(Document, frozen=True):
    """Prices of one model at one worker; `valid_until` in unix seconds."""

    v: Literal["bombyx/1"]
    worker: Hex32
    model: Name
    prices: Prices
    valid_until: Count
    max_concurrency: Annotated[int, Meta(ge=1, le=100_000)]


class SignedOffer(Document, frozen=True):
    """An offer with the signature of the worker's link key."""

    offer: Offer
    signature: Hex64


def sign_offer(offer: Offer, signer: Signer) -> SignedOffer:
    """Sign an offer with the worker's link key."""
    return SignedOffer(offer=offer, signature=signer.sign(Kind.OFFER, offer).hex())


def verify_offer(signed: SignedOffer, link_key: bytes) -> None:
    """Check an offer against the link key of the keyset it names; raises `BadSignature`."""
    verify(Kind.OFFER, signed.offer, bytes.fromhex(signed.signature), link_key)


def offer_hash(offer: Offer) -> str:
    """The hex digest by which headers and statements name an offer."""
    return canonical.digest(offer).hex()
