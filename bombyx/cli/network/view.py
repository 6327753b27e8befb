"""What `bombyx up` shows on a terminal while it runs: processes, use, the last receipts."""

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from bombyx.cli.network.books import Books
from bombyx.cli.network.supervisor import Post
from bombyx.errors import GatewayUnreachable, RemoteError

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


@dataclass(frozen=True, slots=True)
class Sum:
    """Requests, their tokens and what they cost."""

    requests: int = 0
    prompt: int = 0
    completion: int = 0
    charge_nano: int = 0

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]]) -> "Sum":
        """Of rows of usage."""
        return cls(
            requests=sum(int(row["requests"]) for row in rows),
            prompt=sum(int(row["prompt_tokens"]) for row in rows),
            completion=sum(int(row["completion_tokens"]) for row in rows),
            charge_nano=sum(int(row["charge_nano"]) for row in rows),
        )

    def less(self, other: "Sum") -> "Sum":
        """What came since `other`."""
        return Sum(
            self.requests - other.requests,
            self.prompt - other.prompt,
            self.completion - other.completion,
            self.charge_nano - other.charge_nano,
        )


@dataclass(slots=True)
class Figures:
    """What was used since we started: sums, and the last few requests."""

    since: str
    """The day of the start, YYYY-MM-DD in UTC."""
    used: Sum = Sum()
    last: deque[Use] = field(default_factory=lambda: deque(maxlen=SHOWN_RECEIPTS))
    channels: list[Channel] = field(default_factory=list)
    """The newest first."""
    _before: Sum | None = None
    """What the day had seen before; None until a gateway said so."""
    _newest: int = -1
    """The latest ledger entry that was looked at."""

    def begin(self, books: Books) -> None:
        """Count from here on: a network that is started again has a past."""
        with contextlib.suppress(RemoteError):
            entries = books.ledger(limit=1)["entries"]
            self._newest = max((int(entry["id"]) for entry in entries), default=-1)
            self._before = Sum.of(books.usage(self.since))

    def follow(self, books: Books) -> None:
        """Read what was used since; nothing new where the gateway is away."""
        if self._before is None:
            self.begin(books)
            return
        with contextlib.suppress(RemoteError):
            self.used = Sum.of(books.usage(self.since)).less(self._before)
            entries = books.ledger(limit=_PAGE)["entries"]
            fresh = {int(entry["id"]): entry for entry in entries}
            charges = [
                number
                for number, entry in sorted(fresh.items())
                if number > self._newest and entry["kind"] == "charge"
            ]
            for number in charges[-SHOWN_RECEIPTS:]:
                self._show(books, str(fresh[number]["txn"]))
                self._newest = number
            self._newest = max(self._newest, *fresh, -1)

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

    def _show(self, books: Books, c: str) -> None:
        try:
            answer = books.receipt_of(c)
        except GatewayUnreachable:
            raise
        except RemoteError:
            return  # of an account whose key we do not have
        receipt = answer.get("receipt")
        if not isinstance(receipt, dict):
            return
        statement = receipt["statement"]
        self.last.append(
            Use(
                id=str(answer["id"]),
                model=str(statement["model"]),
                prompt=int(statement["tokens"]["prompt"]),
                completion=int(statement["tokens"]["completion"]),
                charge_nano=int(statement["charge_nano"]),
            )
        )


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
    used = figures.used
    return Text(
        f"\n{used.requests} requests, {used.prompt} tokens in, "
        f"{used.completion} out, {used.charge_nano} nano charged\n"
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
