"""The worker's prices as signed offers, each kept until its `valid_until` (SPEC 1.7, 2.1)."""

from bombyx import canonical
from bombyx.money.offer import Offer, Prices, SignedOffer, offer_hash, sign_offer
from bombyx.signing import Signer

OFFER_SECONDS = 600
"""Life of an offer: shorter than the 15 minutes that its keyset outlives its rotation."""
LEAST_SECONDS = 120
"""A promise shorter than this helps nobody: headers that name it arrive too late."""
REFRESH_SECONDS = 240
"""A published offer is thus always good for at least 360 s; the rule asks for 120 s."""


class OfferBook:
    """The offers that one keyset has made and must still honour."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self.published: list[SignedOffer] = []
        """The newest offer of each model."""

    def publish(
        self,
        prices: dict[str, Prices],
        *,
        worker: str,
        signer: Signer,
        max_concurrency: int,
        not_after: int,
        now: int,
    ) -> list[SignedOffer]:
        """Sign a new offer for each model (by name), none longer than the keyset's `not_after`.

        Times are unix seconds. Close to the keyset's end nothing is offered any more.
        """
        self._offers = {key: one for key, one in self._offers.items() if one.valid_until >= now}
        self.published = []
        valid_until = min(now + OFFER_SECONDS, not_after)
        if valid_until < now + LEAST_SECONDS:
            return []
        for model, price in prices.items():
            offer = Offer(
                v="bombyx/1",
                worker=worker,
                model=model,
                prices=price,
                valid_until=valid_until,
                max_concurrency=max_concurrency,
            )
            self._offers[offer_hash(offer)] = offer
            self.published.append(sign_offer(offer, signer))
        return self.published

    def live(self, name: str, now: int) -> Offer | None:
        """The offer of this hash unless it ran out."""
        offer = self._offers.get(name)
        return offer if offer is not None and now <= offer.valid_until else None

    def documents(self) -> list[str]:
        """The published offers in canonical form."""
        return [canonical.encode(signed).decode() for signed in self.published]
