"""Who is linked now, and what each said that it is (in memory; the archive is the database's)."""

from dataclasses import dataclass, field

from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import ModelRecord
from bombyx.attestation.verify import VerifiedWorker
from bombyx.envelope.keys import PublicSealingKey
from bombyx.link.documents import WorkerStatus
from bombyx.money.cost import Rates
from bombyx.money.offer import Offer, SignedOffer, offer_hash
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
        if any(record.id == status.model for record in self.verified.keyset.models):
            self.loads[status.model] = status

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
        """Share of its slots in use."""
        return self.running(model) / max(1, self.slots(model))

    def slots(self, model: str) -> int:
        """How many requests of the model it takes at once."""
        quote = self.current.get(model)
        return quote.offer.max_concurrency if quote else 0

    def waiting(self, model: str) -> int:
        """Requests queued at the worker when it last said so."""
        status = self.loads.get(model)
        return status.waiting if status else 0


class Registry:
    """Live workers by id."""

    def __init__(self) -> None:
        self._listed: dict[str, Listed] = {}

    def add(self, listed: Listed) -> Listed | None:
        """List a worker; returns whom it replaces."""
        replaced = self._listed.get(listed.worker)
        self._listed[listed.worker] = listed
        return replaced

    def remove(self, listed: Listed) -> None:
        """Unlist, unless a newer link took its place."""
        if self._listed.get(listed.worker) is listed:
            del self._listed[listed.worker]

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


def sealing_key_of(verified: VerifiedWorker) -> tuple[str, PublicSealingKey]:
    """The worker's current HPKE key, parsed."""
    key_id, raw = verified.hpke_key()
    return key_id, PublicSealingKey.from_bytes(raw)
