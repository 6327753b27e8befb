"""What is seen of one worker: on this machine and at its gateways. Values alone, no judgement."""

from dataclasses import dataclass, field
from typing import Any

from bombyx.control.document import LastWords, WorkerDocument
from bombyx.link.standing import WorkerStanding
from bombyx.money.channel.payout_documents import PayoutFile, SeenFile


@dataclass(frozen=True, slots=True)
class Sight:
    """One state folder: `document` of a worker that runs, `last_words` of one that ended.

    `silence` is why there is no document, `starts` whether there will be one. `standings` by the
    gateway's origin: its word, or why it could not be asked. `payouts` and `seen` are the files of
    its payout channels (SPEC 8.8). `at` in unix seconds.
    """

    state: str
    at: int
    document: WorkerDocument | None = None
    silence: str = ""
    starts: bool = False
    last_words: LastWords | None = None
    gpu: dict[str, Any] | None = None
    payouts: PayoutFile | None = None
    seen: SeenFile | None = None
    standings: dict[str, WorkerStanding | str] = field(default_factory=dict)

    @property
    def heard(self) -> dict[str, WorkerStanding]:
        """The gateways that answered."""
        return {
            origin: one for origin, one in self.standings.items() if isinstance(one, WorkerStanding)
        }
