"""SPEC 1.7: offers are signed by the worker's link key."""

import msgspec
import pytest

from bombyx import canonical
from bombyx.errors import BadSignature, NotCanonical
from bombyx.money.offer import Offer, SignedOffer, offer_hash, verify_offer
from tests import factories
from tests.factories import hex_of, worker


def test_a_signed_offer_verifies_and_travels() -> None:
    signed = factories.signed_offer()
    verify_offer(signed, worker().link.public_key)
    assert canonical.decode(canonical.encode(signed), SignedOffer) == signed
    assert offer_hash(signed.offer) == canonical.digest(signed.offer).hex()


@pytest.mark.spec("1.7-b")
@pytest.mark.parametrize(
    "changes",
    [
        {"worker": hex_of("other")},
        {"model": "other"},
        {"valid_until": 1},
        {"max_concurrency": 1},
        {"prices": msgspec.structs.replace(factories.PRICES, reasoning="1")},
    ],
    ids=str,
)
def test_a_changed_offer_does_not_verify(changes: dict[str, object]) -> None:
    signed = factories.signed_offer()
    changed = msgspec.structs.replace(signed.offer, **changes)
    with pytest.raises(BadSignature):
        verify_offer(msgspec.structs.replace(signed, offer=changed), worker().link.public_key)
    assert offer_hash(changed) != offer_hash(signed.offer)


@pytest.mark.spec("1.7-b")
def test_another_key_of_the_same_worker_does_not_vouch_for_offers() -> None:
    with pytest.raises(BadSignature):
        verify_offer(factories.signed_offer(), worker().receipt.public_key)


@pytest.mark.parametrize("changes", [{"max_concurrency": 0}, {"valid_until": -1}, {"v": "x"}])
def test_an_offer_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    raw = canonical.encode(msgspec.structs.replace(factories.offer(), **changes))
    with pytest.raises(NotCanonical):
        canonical.decode(raw, Offer)
