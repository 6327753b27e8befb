"""The values that go into and come out of a `Store`; amounts in nano, times in unix ms.

Digests that are keys of tables are raw bytes (`c`, `h`, `statement_hash`), names are text: workers,
offers and payers as hex, tickets as hex. What every request makes is a struct of msgspec, at a
fraction of a frozen dataclass's cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec

from bombyx.errors import BombyxError
from bombyx.money.channel.acceptance import ChannelRow
from bombyx.money.channel.terms import Ceiling

FEES_ACCOUNT = "gateway:fees"
ISSUANCE_ACCOUNT = "issuance"
WORKER_PREFIX = "worker:"
"""Account of a worker's owner: the prefix and the payout address of its keyset."""

Tier: TypeAlias = Literal["sealed", "bare"]

KINDS = ("requests", "tokens", "slots", "nano")
"""What a key's limits are of: a minute's requests and tokens, requests at once, nano a month."""
Amounts: TypeAlias = tuple[int, int, int, int]
"""One of each of `KINDS`."""

TokenUsage: TypeAlias = tuple[int, int, int, int]
"""prompt, cached, completion, reasoning: inclusive counts, as in a statement."""


class Disposition(StrEnum):
    """What became of a statement; final, stored, repeated identically on resend (SPEC 6.8)."""

    BILLED = "billed"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    INVALID = "invalid"


class NewClaim(msgspec.Struct, frozen=True, gc=False):
    """What must be on disk before a request goes to its first worker.

    `header` is the canonical clear header, from which (with `req_ct_hash`) any process
    can later judge statements;
    `worker`, `ticket` and `offer` are those of attempt 1.
    """

    c: bytes
    h: bytes
    id: str
    account: str
    reserve: int
    deadline: int
    tier: Tier
    model: str
    payer: str
    fee_bps: int
    header: bytes
    req_ct_hash: bytes
    worker: str
    ticket: str
    offer: str
    key: str = ""
    """The API key that asked."""
    rationed: bool = False
    """Whether the reserve was taken out of the key's budget as well."""
    channel: str = ""
    """The channel that pays, in hex; empty where the account's balance does."""


class ChannelClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim that a channel pays, and the checked voucher that came with it, if one did."""

    claim: NewClaim
    offered: Ceiling | None


@dataclass(frozen=True, slots=True)
class StoredClaim:
    """A claim as the database holds it; `winner` is the worker of the last attempt dispatched.

    `charge` is None while the claim is open.
    """

    c: bytes
    h: bytes
    id: str
    account: str
    slot: int
    epoch: int
    reserve: int
    settled: bool
    deadline: int
    attempts: int
    winner: str | None
    statement_hash: bytes | None
    charge: int | None
    tier: Tier
    model: str
    payer: str
    fee_bps: int
    header: bytes
    req_ct_hash: bytes


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One dispatch of a claim to a worker; number 1 comes with the claim itself."""

    c: bytes
    number: int
    worker: str
    ticket: str
    offer: str


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """The claim is committed: the request may go to its worker."""

    c: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """The commitment is already claimed."""

    stored: StoredClaim


@dataclass(frozen=True, slots=True)
class Fenced:
    """The process is no longer the owner of its slot; nothing was claimed."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """The channel does not pay: why, and how it stood. Nothing was claimed."""

    row: ChannelRow
    error: BombyxError


@dataclass(frozen=True, slots=True)
class Granted:
    """The account's lease grew by `amount`."""

    amount: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """`available` does not cover the need; other processes hold `elsewhere` and were asked."""

    available: int
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline of a claim to be restored is past."""


@dataclass(frozen=True, slots=True)
class RestoredClaim:
    """A claim that the database lost, rebuilt from a statement with a valid ticket (SPEC 5.3).

    `owner` is the (slot, epoch) whose lease still covers the reserve, None where nobody's does.
    """

    claim: NewClaim
    attempts: int
    owner: tuple[int, int] | None


class SignedStatement(msgspec.Struct, frozen=True, gc=False):
    """A statement to be stored with its receipt; `document` is the canonical `Receipt`."""

    statement_hash: bytes
    id: str
    worker: str
    status: str
    document: bytes


class SettlementRow(msgspec.Struct, frozen=True, gc=False):
    """Close a claim: `amount` to the account `payee`, `fee` to the gateway, both from the client.

    Without a statement nothing is charged.
    """

    c: bytes
    amount: int = 0
    fee: int = 0
    payee: str = ""
    statement: SignedStatement | None = None
    tokens: TokenUsage = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        if self.amount < 0 or self.fee < 0:
            raise ValueError("amounts are not negative")
        if self.statement is None and self.charge:
            raise ValueError("nothing is charged without a statement")
        if self.amount and not self.payee.startswith(WORKER_PREFIX):
            raise ValueError("earnings go to a worker's account")

    @property
    def charge(self) -> int:
        """What the client pays."""
        return self.amount + self.fee


class VerdictRow(msgspec.Struct, frozen=True, gc=False):
    """A statement that is not billed, and why."""

    c: bytes
    statement: SignedStatement
    disposition: Disposition
    code: str | None = None

    def __post_init__(self) -> None:
        if self.disposition is Disposition.BILLED:
            raise ValueError("a statement is billed by settling its claim")


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How things stand after a settlement or verdict; the same on every resend.

    `disposition` and `code` are those of the row's statement, None where it has none or nothing
    is known of its claim. `charge` is what the claim was settled for, by this row or by another
    before it; None while the claim is open or unknown.
    """

    c: bytes
    disposition: Disposition | None
    code: str | None
    charge: int | None

    @property
    def unknown(self) -> bool:
        """No such claim: restore it from the ticket, then settle again."""
        return self.disposition is None and self.charge is None


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A statement as judged; `charge` is what it cost the client."""

    statement_hash: bytes
    c: bytes
    id: str
    worker: str
    status: str
    document: bytes
    disposition: Disposition
    code: str | None
    charge: int
    at: int


@dataclass(frozen=True, slots=True)
class Process:
    """A live gateway process."""

    slot: int
    epoch: int
    link_url: str
    draining: bool


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Requests and tokens a minute, requests at once, nano a month, and the models it may name.

    None is no limit.
    """

    requests: int | None = None
    tokens: int | None = None
    slots: int | None = None
    nano: int | None = None
    models: tuple[str, ...] | None = None

    @classmethod
    def of(cls, row: Sequence[Any]) -> "KeyLimits":
        """The five columns; `models` is JSON there."""
        requests, tokens, slots, nano, text = row
        models = msgspec.json.decode(text, type=tuple[str, ...]) if text is not None else None
        return cls(requests, tokens, slots, nano, models)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key that is neither revoked nor expired; `limits` is None where it has none."""

    id: str
    account: str
    scope: Literal["inference", "admin"]
    limits: KeyLimits | None = None


class Rationed(msgspec.Struct, frozen=True, gc=False):
    """What a key's allowances grew by, in the order of `KINDS`; None when one does not suffice.

    `left` is what remains to be granted, `elsewhere` what other processes hold. Requests and tokens
    are good in the minute `term`, which ends in `ends_in_ms` by the database's clock.
    """

    granted: Amounts | None
    left: Amounts
    elsewhere: Amounts
    term: int
    ends_in_ms: int


class RetryKey(msgspec.Struct, frozen=True, gc=False):
    """The claim that an `Idempotency-Key` of a bare request stands for (SPEC 14.4)."""

    account: str
    key: str
    body_digest: bytes
    c: bytes
