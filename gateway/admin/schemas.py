"""What `/admin/v1` takes and answers; amounts are decimal text, times unix milliseconds."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.accounts.limits import MAX_MODELS, MAX_NAME
from gateway.accounts.repository import Account, KeyRecord
from gateway.metering.rows import KeyLimits

NanoText = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})$")]
SomeNano = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]
NO_ZERO = r"^[^\x00]*$"
"""PostgreSQL stores every character but one."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=NO_ZERO)]
Reason = Annotated[str, StringConstraints(max_length=512, pattern=NO_ZERO)]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Milliseconds = Annotated[int, Field(ge=0, le=2**53 - 1)]
Count = Annotated[int, Field(ge=0, le=10**15)]


class Body(BaseModel):
    """A request's body: unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class Paged(BaseModel):
    """One page of a list."""

    next_cursor: str | None = None


class NewAccount(Body):
    """An account to be made."""

    name: Name


class AccountView(BaseModel):
    """An account and what it holds, running reserves included."""

    id: str
    kind: str
    name: str
    posted_nano: str
    created_at: int
    closed_at: int | None

    @classmethod
    def of(cls, account: Account) -> "AccountView":
        """As it is shown."""
        return cls(
            id=account.id,
            kind=account.kind,
            name=account.name,
            posted_nano=str(account.posted),
            created_at=account.created_at,
            closed_at=account.closed_at,
        )


class AccountPage(Paged):
    """Accounts by id."""

    accounts: list[AccountView]


class Credit(Body):
    """Money for an account."""

    amount_nano: SomeNano
    txn: Name
    """Yours: the same again books nothing."""
    ref: Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=NO_ZERO)] = ""


class Credited(BaseModel):
    """What a credit did."""

    booked: bool
    """False where `txn` was booked before."""
    account: AccountView


class Limits(Body):
    """NULL or absent is no limit."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent_requests: Count | None = None
    monthly_budget_nano: NanoText | None = None
    models: Annotated[list[Name], Field(max_length=MAX_MODELS)] | None = None

    @classmethod
    def of(cls, limits: KeyLimits) -> "Limits":
        """As it is shown."""
        return cls(
            requests_per_minute=limits.requests,
            tokens_per_minute=limits.tokens,
            concurrent_requests=limits.slots,
            monthly_budget_nano=None if limits.nano is None else str(limits.nano),
            models=None if limits.models is None else list(limits.models),
        )

    def stored(self) -> KeyLimits:
        """As the database has them."""
        return KeyLimits(
            requests=self.requests_per_minute,
            tokens=self.tokens_per_minute,
            slots=self.concurrent_requests,
            nano=None if self.monthly_budget_nano is None else int(self.monthly_budget_nano),
            models=None if self.models is None else tuple(self.models),
        )


class NewKeyBody(Body):
    """A key to be made."""

    account: Name
    name: Name
    scope: Literal["inference", "admin"] = "inference"
    expires_at: Milliseconds | None = None
    limits: Limits = Limits()


class KeyView(BaseModel):
    """A key as it is known once it was shown."""

    id: str
    account: str
    name: str
    prefix: str
    scope: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    limits: Limits

    @classmethod
    def of(cls, key: KeyRecord, limits: KeyLimits | None) -> "KeyView":
        """As it is shown."""
        return cls(
            id=key.id,
            account=key.account,
            name=key.name,
            prefix=key.prefix,
            scope=key.scope,
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            limits=Limits.of(limits or KeyLimits()),
        )


class CreatedKey(KeyView):
    """A key on the one occasion that it is whole."""

    api_key: str
    """The secret; it is shown only here."""


class KeyPage(Paged):
    """Keys by id."""

    keys: list[KeyView]


class ClaimView(BaseModel):
    """A request that was reserved for; the charge is absent while it is open."""

    c: str
    id: str
    account: str
    key: str
    tier: str
    model: str
    state: str
    reserve_nano: str
    charge_nano: str | None
    worker: str
    attempts: int
    slot: int
    created_at: int
    deadline: int
    statement_hash: str | None


class ClaimPage(Paged):
    """Claims, the latest first."""

    claims: list[ClaimView]


class ReceiptView(BaseModel):
    """A statement as judged."""

    statement_hash: str
    c: str
    id: str
    worker: str
    status: str
    disposition: str
    code: str | None
    charge_nano: str
    at: int


class ReceiptPage(Paged):
    """Receipts, the latest first."""

    receipts: list[ReceiptView]


class FullReceipt(ReceiptView):
    """A statement as judged, with its proof."""

    receipt: dict[str, Any]


class EntryView(BaseModel):
    """One line of the ledger."""

    id: int
    txn: str
    account: str
    amount_nano: str
    kind: str
    ref: str
    at: int


class LedgerPage(Paged):
    """Entries, the latest first."""

    entries: list[EntryView]
    sum_nano: str
    """Of the whole ledger: 0."""


class UsageRow(BaseModel):
    """What was billed on one day to one key for one model in one tier."""

    day: str
    account: str
    key: str
    tier: str
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    charge_nano: str


class UsagePage(Paged):
    """Usage by day, account, key, tier and model."""

    usage: list[UsageRow]


class ChangeView(BaseModel):
    """One line of the audit log."""

    id: int
    at: int
    actor: str
    action: str
    target: str
    detail: dict[str, Any]


class AuditPage(Paged):
    """Changes, the latest first."""

    changes: list[ChangeView]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorView(BaseModel):
    """Every refusal, in OpenAI's shape."""

    error: ErrorBody
