"""What `bombyx up` shows on a terminal while it runs: processes, use, the last receipts."""

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bombyx.cli.network.books import Books
from bombyx.cli.network.supervisor import Post
from bombyx.errors import RemoteError

SHOWN_RECEIPTS = 5
SHOWN_NOTES = 3
SHOWN_CHANNELS = 3
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Use:
    """One billed request; tokens by class, the charge in nano."""

    id: str
    model: str
    prompt: int
    completion: int
    charge_nano: int


@dataclass(frozen=True, slots=True)
class Channel:
    """A payment channel by the gateway's books; totals in nano."""

    name: str
    state: str
    deposited: int
    charged: int
    claimed: int


@dataclass(slots=True)
class Figures:
    """What was used since we started: counts, and the last few requests."""

    requests: int = 0
    prompt: int = 0
    completion: int = 0
    charge_nano: int = 0
    last: deque[Use] = field(default_factory=lambda: deque(maxlen=SHOWN_RECEIPTS))
    newest: int = -1
    """The latest ledger entry that was counted."""
    channels: list[Channel] = field(default_factory=list)
    """The newest first."""

    def begin(self, books: Books) -> None:
        """Count from here on: a network that is started again has a past."""
        with contextlib.suppress(RemoteError):
            entries = books.ledger(limit=1)["entries"]
            self.newest = max((int(entry["id"]) for entry in entries), default=-1)

    def follow(self, books: Books) -> None:
        """Read what was charged since; nothing new where the gateway is away."""
        with contextlib.suppress(RemoteError):
            entries = books.ledger(limit=_PAGE)["entries"]
            for entry in sorted(entries, key=lambda entry: int(entry["id"])):
                if int(entry["id"]) > self.newest and entry["kind"] == "charge":
                    self._count(books, str(entry["txn"]))
                self.newest = max(self.newest, int(entry["id"]))

    def look(self, books: Books) -> None:
        """How the account's payment channels stand; as before where the gateway is away."""
        with contextlib.suppress(RemoteError):
            self.channels = [
                Channel(
                    name=str(one["channel"]),
                    state=str(one["state"]),
                    deposited=int(one["deposited_nano"]),
                    charged=int(one["charged_nano"]),
                    claimed=int(one["claimed_nano"]),
                )
                for one in books.channels()[:SHOWN_CHANNELS]
            ]

    def _count(self, books: Books, c: str) -> None:
        answer = books.receipt_of(c)  # first: where it fails, all of the entry is for the next look
        self.requests += 1
        receipt = answer.get("receipt")
        if not isinstance(receipt, dict):
            return
        statement = receipt["statement"]
        use = Use(
            id=str(answer["id"]),
            model=str(statement["model"]),
            prompt=int(statement["tokens"]["prompt"]),
            completion=int(statement["tokens"]["completion"]),
            charge_nano=int(statement["charge_nano"]),
        )
        self.prompt += use.prompt
        self.completion += use.completion
        self.charge_nano += use.charge_nano
        self.last.append(use)


def dashboard(
    posts: Sequence[Post], figures: Figures, notes: Sequence[str], *, now: float
) -> Group:
    """The whole view; `now` is of the supervisor's clock."""
    parts: list[Table | Text] = [_processes(posts, now), _totals(figures)]
    if figures.last:
        parts.append(_receipts(figures))
    if figures.channels:
        parts.append(_channels(figures))
    parts += [Text(note, style="yellow") for note in list(notes)[-SHOWN_NOTES:]]
    parts.append(Text("Ctrl-C stops everything", style="dim"))
    return Group(*parts)


def _processes(posts: Sequence[Post], now: float) -> Table:
    table = Table("process", "pid", "state", "since", box=None, pad_edge=False)
    for post in posts:
        style = "green" if post.state == "running" else "yellow"
        since = f"{now - post.since:.0f} s"
        table.add_row(post.recipe.name, str(post.child.pid), Text(post.state, style), since)
    return table


def _totals(figures: Figures) -> Text:
    return Text(
        f"\n{figures.requests} requests, {figures.prompt} tokens in, "
        f"{figures.completion} out, {figures.charge_nano} nano charged\n"
    )


def _receipts(figures: Figures) -> Table:
    columns = ("receipt", "model", "in", "out", "nano")
    table = Table(*columns, box=None, pad_edge=False)
    for use in reversed(figures.last):
        counts = (str(use.prompt), str(use.completion), str(use.charge_nano))
        table.add_row(use.id[:12], use.model, *counts)
    return table


def _channels(figures: Figures) -> Table:
    columns = ("\nchannel", "\nstate", "\ndeposited", "\ncharged", "\nclaimed")
    table = Table(*columns, box=None, pad_edge=False)
    for one in figures.channels:
        amounts = (str(one.deposited), str(one.charged), str(one.claimed))
        table.add_row(one.name[:12], one.state, *amounts)
    return table
