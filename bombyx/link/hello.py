"""How a worker and a gateway meet (SPEC 10): mutual signatures over both nonces and the URL.

The worker names the URL that it dialled; a gateway signs only its own. So a middleman that dials
on with the worker's words gets a signature that names another place.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx.canonical import Document
from bombyx.errors import BadSignature, ClockSkew, LinkError
from bombyx.money.channel.payout_documents import PayoutChannel
from bombyx.money.channel.terms import Voucher
from bombyx.signing import Kind, Signer, verify
from bombyx.units import MAX_SKEW_SECONDS, Count, Hex32, Hex64

LINK_VERSION = "bombyx-link/1"
_Url = Annotated[str, Meta(max_length=512, pattern=r"\Awss?://[\x21-\x7e]+\Z")]


class Hello(Document, frozen=True):
    """The worker's first word."""

    v: Literal["bombyx-link/1"]
    nonce: Hex32


class Challenge(Document, frozen=True):
    """The gateway's answer; slot and epoch name the process (DESIGN: processes)."""

    v: Literal["bombyx-link/1"]
    gateway: Hex32
    url: _Url
    nonce: Hex32
    slot: Count
    epoch: Count
    signature: Hex64


class Identify(Document, frozen=True):
    """The worker's keys and evidence; the parts are canonical JSON documents of their own."""

    keyset: str
    evidence: str
    offers: Annotated[list[str], Meta(max_length=256)]
    at: Count
    signature: Hex64
    collateral: str | UnsetType = UNSET
    payout_key: Hex32 | UnsetType = UNSET
    """The owner's key in payout channels (SPEC 8.7); signed with the rest."""
    voucher: Voucher | UnsetType = UNSET
    """The highest that the worker holds of this gateway (SPEC 8.1)."""
    payout_channel: PayoutChannel | UnsetType = UNSET
    """What that voucher is of, for a gateway that has forgotten it."""


class Welcome(Document, frozen=True):
    """The worker is listed; what it must know of the gateway."""

    fee_bps: Count
    deadline_s: Count


def _gateway_terms(gateway: str, url: str, nonce_w: str, nonce_g: str) -> dict[str, str]:
    return {"gateway": gateway, "url": url, "nonce_w": nonce_w, "nonce_g": nonce_g}


def challenge(
    hello: Hello, signer: Signer, *, url: str, nonce: str, slot: int, epoch: int
) -> Challenge:
    """The gateway's signed challenge for this worker's nonce."""
    terms = _gateway_terms(signer.public_hex, url, hello.nonce, nonce)
    return Challenge(
        v="bombyx-link/1",
        gateway=signer.public_hex,
        url=url,
        nonce=nonce,
        slot=slot,
        epoch=epoch,
        signature=signer.sign(Kind.LINK_GATEWAY, terms).hex(),
    )


def check_challenge(hello: Hello, offered: Challenge, *, dialled: str) -> None:
    """The worker's check; raises `LinkError` unless the gateway meant this URL and nonce."""
    if offered.url != dialled:
        raise LinkError("the gateway calls itself by another URL than the one dialled")
    terms = _gateway_terms(offered.gateway, offered.url, hello.nonce, offered.nonce)
    try:
        verify(
            Kind.LINK_GATEWAY,
            terms,
            bytes.fromhex(offered.signature),
            bytes.fromhex(offered.gateway),
        )
    except BadSignature as error:
        raise LinkError(error.message) from None


def worker_terms(
    hello: Hello, offered: Challenge, *, worker: str, at: int, payout_key: str | UnsetType = UNSET
) -> dict[str, str | int]:
    """What the worker's link key signs: both nonces, gateway, URL, keyset digest, unix seconds.

    The payout key stands there where one is told: nobody on the way puts another in its place.
    """
    terms: dict[str, str | int] = {
        **_gateway_terms(offered.gateway, offered.url, hello.nonce, offered.nonce)
    }
    told = {"payout_key": payout_key} if isinstance(payout_key, str) else {}
    return {**terms, "keyset": worker, "at": at, **told}


def check_identify(
    hello: Hello, offered: Challenge, identify: Identify, *, worker: str, link_key: bytes
) -> None:
    """The gateway's check of the worker's signature; raises `LinkError`."""
    terms = worker_terms(
        hello, offered, worker=worker, at=identify.at, payout_key=identify.payout_key
    )
    try:
        verify(Kind.LINK_WORKER, terms, bytes.fromhex(identify.signature), link_key)
    except BadSignature as error:
        raise LinkError(error.message) from None


def check_clock(identify: Identify, now: int) -> None:
    """The worker's clock against the gateway's, `now` in unix seconds; raises `ClockSkew`."""
    ahead = identify.at - now
    if abs(ahead) > MAX_SKEW_SECONDS:
        which = "ahead of" if ahead > 0 else "behind"
        raise ClockSkew(f"the worker's clock is {abs(ahead)} s {which} the gateway's: set it right")
