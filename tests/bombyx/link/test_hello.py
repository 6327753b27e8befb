"""SPEC 10: worker and gateway prove to each other who they are and where they met."""

import msgspec
import pytest

from bombyx import canonical
from bombyx.errors import ClockSkew, LinkError, NotCanonical
from bombyx.link.hello import (
    Challenge,
    Hello,
    Identify,
    challenge,
    check_challenge,
    check_clock,
    check_identify,
    worker_terms,
)
from bombyx.money.channel.payout_documents import nobodys_key
from bombyx.signing import Kind
from tests.factories import GATEWAY, NOW, hex_of, worker

URL = "wss://gateway.example/v1/link"
HELLO = Hello(v="bombyx-link/1", nonce=hex_of("nonce w"))
CHALLENGE = challenge(HELLO, GATEWAY, url=URL, nonce=hex_of("nonce g"), slot=1, epoch=2)


def identify(at: int = NOW, offered: Challenge = CHALLENGE) -> Identify:
    keys = worker()
    terms = worker_terms(HELLO, offered, worker=keys.id, at=at)
    return Identify(
        keyset="{}",
        evidence="{}",
        offers=[],
        at=at,
        signature=keys.link.sign(Kind.LINK_WORKER, terms).hex(),
    )


def check(identified: Identify, **changes: str | bytes) -> None:
    known = {"worker": worker().id, "link_key": worker().link.public_key} | changes
    check_identify(HELLO, CHALLENGE, identified, **known)  # type: ignore[arg-type]


def test_both_sides_accept_each_other() -> None:
    check_challenge(HELLO, CHALLENGE, dialled=URL)
    check(identify())
    for document in (HELLO, CHALLENGE, identify()):
        assert canonical.decode(canonical.encode(document), type(document)) == document


def test_what_the_worker_signs_names_gateway_url_nonces_keyset_and_time() -> None:
    assert worker_terms(HELLO, CHALLENGE, worker="ab", at=5) == {
        "gateway": GATEWAY.public_hex,
        "url": URL,
        "nonce_w": HELLO.nonce,
        "nonce_g": CHALLENGE.nonce,
        "keyset": "ab",
        "at": 5,
    }


@pytest.mark.spec("10.3-b")
def test_a_gateway_that_calls_itself_by_another_url_is_refused() -> None:
    # a middleman passes on the honest gateway's challenge, which names the honest URL
    with pytest.raises(LinkError, match="another URL"):
        check_challenge(HELLO, CHALLENGE, dialled="wss://middle.example/v1/link")


@pytest.mark.spec("10.3-a")
@pytest.mark.parametrize("field", ["gateway", "nonce", "url"])
def test_a_changed_challenge_is_refused(field: str) -> None:
    value = "wss://other.example/" if field == "url" else worker().link.public_hex
    forged = msgspec.structs.replace(CHALLENGE, **{field: value})
    with pytest.raises(LinkError, match="does not verify"):
        check_challenge(HELLO, forged, dialled=forged.url)


@pytest.mark.spec("10.3-a")
def test_a_challenge_for_another_nonce_is_refused() -> None:
    again = Hello(v="bombyx-link/1", nonce=hex_of("another"))
    with pytest.raises(LinkError, match="does not verify"):
        check_challenge(again, CHALLENGE, dialled=URL)


@pytest.mark.spec("10.3-c")
def test_a_worker_that_signed_anything_else_is_refused() -> None:
    other = msgspec.structs.replace(CHALLENGE, url="wss://other.example/")
    changed = msgspec.structs.replace(identify(), at=NOW + 1)
    for bad in (identify(offered=other), changed):
        with pytest.raises(LinkError, match="does not verify"):
            check(bad)
    for changes in ({"worker": hex_of("x")}, {"link_key": worker().receipt.public_key}):
        with pytest.raises(LinkError, match="does not verify"):
            check(identify(), **changes)


@pytest.mark.spec("8.7-a")
def test_the_payout_key_is_signed_where_it_is_told() -> None:
    key = nobodys_key(bytes(32)).hex()
    terms = worker_terms(HELLO, CHALLENGE, worker=worker().id, at=NOW, payout_key=key)
    assert terms["payout_key"] == key
    signature = worker().link.sign(Kind.LINK_WORKER, terms).hex()
    told = msgspec.structs.replace(identify(), signature=signature, payout_key=key)
    check(told)
    assert canonical.decode(canonical.encode(told), Identify) == told
    for other in (hex_of("a middleman's"), msgspec.UNSET):
        with pytest.raises(LinkError, match="does not verify"):
            check(msgspec.structs.replace(told, payout_key=other))
    with pytest.raises(LinkError, match="does not verify"):
        check(msgspec.structs.replace(identify(), payout_key=key))


BAD_URLS = ["https://a", "wss://", "wss://a b", "ws://é", "wss://" + "a" * 512]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_link_url_is_a_websocket_url(url: str) -> None:
    raw = canonical.encode(msgspec.structs.replace(CHALLENGE, url=url))
    with pytest.raises(NotCanonical):
        canonical.decode(raw, Challenge)


@pytest.mark.spec("10.3-g")
def test_clocks_may_be_five_minutes_apart() -> None:
    for at in (NOW - 300, NOW, NOW + 300):
        check_clock(identify(at), NOW)
    with pytest.raises(ClockSkew, match="301 s ahead of the gateway's"):
        check_clock(identify(NOW + 301), NOW)
    with pytest.raises(ClockSkew, match="400 s behind the gateway's"):
        check_clock(identify(NOW - 400), NOW)
