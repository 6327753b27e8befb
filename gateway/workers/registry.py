"""Who is linked now, and what each said that it is (in memory; the archive is the database's)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import ModelRecord
from bombyx.attestation.verify import VerifiedWorker
from bombyx.envelope.keys import PublicSealingKey
from bombyx.link.documents import WorkerStatus
from bombyx.money.cost import Rates
from bombyx.money.offer import Offer, SignedOffer, offer_hash
from gateway.routing.standing import Standing, Standings
from gateway.workers.link import WorkerLink

HONOUR_SECONDS = 120
"""An offer is listed only while it binds for so much longer (SPEC 2.1)."""


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer as the gateway uses it."""

    hash: str
    signed: SignedOffer
    offer: Offer
    rates: Rates
    record: ModelRecord

    @classmethod
    def of(cls, signed: SignedOffer, record: ModelRecord) -> "Quote":
        """Hash and read an offer once, when it arrives."""
        offer = signed.offer
        return cls(offer_hash(offer), signed, offer, Rates.of(offer.prices), record)


@dataclass(slots=True, eq=False)
class Listed:
    """A verified worker with a live link."""

    verified: VerifiedWorker
    evidence: Evidence
    collateral: Collateral | None
    link: WorkerLink
    quotes: dict[str, Quote] = field(default_factory=dict)
    """By offer hash; old offers stay until they expire."""
    current: dict[str, Quote] = field(default_factory=dict)
    """By model: the newest offer."""
    loads: dict[str, WorkerStatus] = field(default_factory=dict)
    key_id: str = ""
    sealing_key: PublicSealingKey | None = None
    standing: Standing = field(default_factory=Standing)
    """Its owner's and machine's, which outlives this link."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """By model: requests that are there by its own word and not from this process."""
    paused_until: float = 0.0
    """Monotonic seconds: it said that it is full, whatever else it says."""
    worker: str = field(init=False)
    """The worker's id in hex."""

    def __post_init__(self) -> None:
        self.worker = self.verified.worker_id

    @property
    def payout(self) -> str:
        """Where the owner is paid."""
        return self.verified.keyset.payout

    def add_offers(self, offers: list[SignedOffer], now: int) -> None:
        """Take verified offers; the one that lasts longest is the model's current one."""
        records = {record.id: record for record in self.verified.keyset.models}
        self.quotes = {k: q for k, q in self.quotes.items() if q.offer.valid_until > now}
        for signed in offers:
            record = records.get(signed.offer.model)
            if record is None or signed.offer.worker != self.worker:
                continue
            quote = Quote.of(signed, record)
            self.quotes[quote.hash] = quote
            held = self.current.get(record.id)
            if held is None or quote.offer.valid_until >= held.offer.valid_until:
                self.current[record.id] = quote

    def take_status(self, status: WorkerStatus) -> None:
        """Note the load of a model that the worker really has."""
        model = status.model
        if any(record.id == model for record in self.verified.keyset.models):
            self.loads[model] = status
            # What it counted may have ended here meanwhile: it is compared with the most that ran
            # since it counted last, so that our own requests never pass for those of others.
            said, link = status.running + status.waiting, self.link
            self.elsewhere[model] = max(0, said - link.peak.get(model, 0))
            link.peak[model] = link.running.get(model, 0)
            link.on_room(model)

    def is_shown(self, now: int) -> bool:
        """Whether the link takes requests and the evidence holds long enough to be shown."""
        return self.link.open_for_requests and self.verified.expires_at > now + HONOUR_SECONDS

    def live_quote(self, model: str, now: int) -> Quote | None:
        """The model's offer, if it still binds long enough to be shown."""
        quote = self.current.get(model)
        if quote is None or quote.offer.valid_until < now + HONOUR_SECONDS:
            return None
        return quote

    def running(self, model: str) -> int:
        """Requests of the model that this process has running there."""
        return self.link.running.get(model, 0)

    def load(self, model: str) -> float:
        """Share of its slots in use, by anyone."""
        return self.occupancy(model, 0.0)[0]

    def has_room(self, model: str, now: float) -> bool:
        """Whether another request would run at once; `now` is monotonic seconds."""
        return self.link.open_for_requests and self.occupancy(model, now)[1]

    def occupancy(self, model: str, now: float) -> tuple[float, bool, int]:
        """Of a link that is open: load, whether a slot is free, what runs there from here."""
        quote, status = self.current.get(model), self.loads.get(model)
        slots = quote.offer.max_concurrency if quote is not None else 0
        running = self.link.running.get(model, 0)
        used = running + self.elsewhere.get(model, 0)
        # An engine that says it has no slots is starting.
        free = used < slots and now >= self.paused_until and (status is None or status.slots > 0)
        return used / (slots or 1), free, running

    def slots(self, model: str) -> int:
        """How many requests of the model it takes at once."""
        quote = self.current.get(model)
        return quote.offer.max_concurrency if quote else 0

    def waiting(self, model: str) -> int:
        """Requests queued at the worker when it last said so."""
        status = self.loads.get(model)
        return status.waiting if status else 0


class Registry:
    """Live workers by id, and what their machines are known for."""

    def __init__(self) -> None:
        self._listed: dict[str, Listed] = {}
        self._serving: dict[str, tuple[int, list[tuple[Listed, Quote]]]] = {}
        self.standings = Standings()
        self.on_room: Callable[[Listed, str], None] = _nothing
        """Called when a worker may have a free slot for a model."""

    def add(self, listed: Listed) -> Listed | None:
        """List a worker; returns whom it replaces."""
        replaced = self._listed.get(listed.worker)
        self._listed[listed.worker] = listed
        self._serving.clear()
        listed.standing = self.standings.of(listed.payout, listed.verified.platform_id)
        listed.link.on_room = partial(self.on_room, listed)
        return replaced

    def remove(self, listed: Listed) -> None:
        """Unlist, unless a newer link took its place."""
        if self._listed.get(listed.worker) is listed:
            del self._listed[listed.worker]
            self._serving.clear()

    def get(self, worker: str) -> Listed | None:
        """A live worker that takes requests."""
        listed = self._listed.get(worker)
        return listed if listed is not None and listed.link.open_for_requests else None

    def all(self) -> list[Listed]:
        """Everyone who is linked."""
        return list(self._listed.values())

    def serving(self, model: str, now: int) -> list[tuple[Listed, Quote]]:
        """Whoever can be listed for a model now."""
        return [
            (listed, quote)
            for listed in self._listed.values()
            if listed.is_shown(now) and (quote := listed.live_quote(model, now)) is not None
        ]

    def routable(self, model: str, now: int) -> list[tuple[Listed, Quote]]:
        """The same, at most a second old: a goodbye or a new offer shows with that delay."""
        known = self._serving.get(model)
        if known is None or known[0] != now:
            found = self.serving(model, now)
            if not found:
                self._serving.pop(model, None)  # names that nobody serves are not remembered
                return found
            known = self._serving[model] = now, found
        return known[1]

    def models(self, now: int) -> dict[str, list[Quote]]:
        """Live offers by model."""
        out: dict[str, list[Quote]] = {}
        for listed in self._listed.values():
            if not (
                listed.link.open_for_requests and listed.verified.expires_at > now + HONOUR_SECONDS
            ):
                continue
            for model in listed.current:
                quote = listed.live_quote(model, now)
                if quote is not None:
                    out.setdefault(model, []).append(quote)
        return out


def _nothing(_listed: Listed, _model: str) -> None:
    """Nobody waits for a slot."""


def sealing_key_of(verified: VerifiedWorker) -> tuple[str, PublicSealingKey]:
    """The worker's current HPKE key, parsed."""
    key_id, raw = verified.hpke_key()
    return key_id, PublicSealingKey.from_bytes(raw)
