"""Which workers a request is sealed to (SPEC 13.1): the client draws, the gateway only picks.

Entries are put in a random order weighted by price, and the first few that pass the policy are
taken. That is the same as drawing among all that pass, and verifies no more than it needs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log

from bombyx import canonical
from bombyx.attestation.directory import Entry
from bombyx.attestation.verify import VerifiedWorker
from bombyx.client.limits import Terms
from bombyx.envelope.keys import expand
from bombyx.errors import BadSignature, ModelNotFound, WorkerRefused
from bombyx.money.cost import Rates
from bombyx.money.offer import Offer, SignedOffer, offer_hash, verify_offer

MAX_DRAWN = 3
"""Enough for failover; each costs 1200 bytes and 0.1 ms."""
OFFER_MARGIN_SECONDS = 15
"""An offer must outlive the way to the worker."""
MAX_EXAMINED = 256
"""Of a directory full of refused entries, so many are tried before the client gives up."""
_UNIT = 2.0**-64

Draw = Callable[[int], bytes]
"""So many random bytes."""
Verify = Callable[[Entry, int], VerifiedWorker]
"""The worker that an entry proves at a time; raises `WorkerRefused`."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A verified worker and the offer accepted from it."""

    worker: VerifiedWorker
    offer: Offer

    @property
    def offer_hash(self) -> str:
        """The hex digest by which header and statement name the offer."""
        return offer_hash(self.offer)

    @property
    def terms(self) -> Terms:
        """What the header's limits are computed from."""
        return Terms(self.worker.model(self.offer.model), Rates.of(self.offer.prices))


@dataclass(frozen=True, slots=True)
class Drawn:
    """Who was drawn, and why others were not."""

    chosen: tuple[Chosen, ...]
    refused: tuple[str, ...]


def draw_candidates(
    entries: Sequence[Entry], model: str, *, verify: Verify, now: int, draw: Draw, pin: bytes = b""
) -> Drawn:
    """At most `MAX_DRAWN` verified workers with a live offer for the model.

    `pin`, 32 secret bytes, draws the same for the same workers whenever it is given: random to all
    who do not have it, and a conversation stays with the workers that know its beginning (SPEC 12).
    """
    offers = [(entry, _best_offer(entry, model, now)) for entry in entries]
    live = [(entry, signed) for entry, signed in offers if signed is not None]
    chosen: dict[str, Chosen] = {}
    refused: list[str] = []
    for entry, signed in _shuffled(live, draw, pin):
        if len(chosen) == MAX_DRAWN or len(refused) == MAX_EXAMINED:
            break
        try:
            one = _examine(entry, signed, model, verify=verify, now=now)
        except (WorkerRefused, BadSignature, ModelNotFound) as error:
            refused.append(error.message)
        else:
            chosen.setdefault(one.worker.worker_id, one)
    return Drawn(tuple(chosen.values()), tuple(refused))


def _best_offer(entry: Entry, model: str, now: int) -> SignedOffer | None:
    """The cheapest live offer; whether it is genuine is checked when its turn comes."""
    worker = canonical.digest(entry.keyset).hex()
    live = (
        signed
        for signed in entry.offers
        if signed.offer.model == model
        and signed.offer.worker == worker
        and signed.offer.valid_until > now + OFFER_MARGIN_SECONDS
    )
    return min(live, key=_price, default=None)


def _examine(entry: Entry, signed: SignedOffer, model: str, *, verify: Verify, now: int) -> Chosen:
    worker = verify(entry, now)
    worker.model(model)
    verify_offer(signed, bytes.fromhex(worker.keyset.link_key))
    return Chosen(worker, signed.offer)


def _price(signed: SignedOffer) -> int:
    rates = Rates.of(signed.offer.prices)
    return rates.prompt + rates.completion


def _shuffled(
    live: Sequence[tuple[Entry, SignedOffer]], draw: Draw, pin: bytes
) -> Iterator[tuple[Entry, SignedOffer]]:
    """A weighted random order (Efraimidis and Spirakis): cheap ones tend to the front."""

    def rank(item: tuple[Entry, SignedOffer]) -> float:
        drawn = expand(pin, bytes.fromhex(item[1].offer.worker), 8) if pin else draw(8)
        uniform = (int.from_bytes(drawn) + 0.5) * _UNIT
        # An exponential variable whose mean is the price: the smallest comes first.
        return -log(uniform) * (1 + _price(item[1]))

    yield from sorted(live, key=rank)
