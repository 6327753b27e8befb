"""Which statement settles a claim, and for how much (SPEC 6). Pure: decides, touches nothing.

A claim is open until one terminal statement of its winner, or its deadline, settles it. The winner
is the attempt dispatched last: another worker is tried only before the first byte of an answer, so
the last attempt is also the one that answered.

The values are structs of msgspec, which a request makes at a fraction of a frozen dataclass's cost.
"""

from enum import StrEnum
from operator import attrgetter

import msgspec

from bombyx.errors import BadReceipt
from bombyx.money.offer import Prices
from bombyx.money.statement import Statement, Status, check_arithmetic
from bombyx.units import Nano

NOTHING = Nano(0)


class Outcome(StrEnum):
    """The final disposition of a statement."""

    BILLED = "billed"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    INVALID = "invalid"


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One dispatch of a claim to a worker, with what the worker promised then."""

    number: int
    worker: str
    ticket: str
    offer: str
    prices: Prices
    weights: str
    engine: str


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What the gateway knows of a request whose cost it has reserved; hex digests, nano, ms."""

    c: str
    h: str
    id: str
    payer: str
    gateway: str
    tier: str
    model: str
    fee_bps: int
    reserve: Nano
    max_input_tokens: int
    max_output_tokens: int
    req_ct_hash: str
    deadline_ms: int
    attempts: tuple[Attempt, ...]

    @property
    def winner(self) -> Attempt | None:
        """The attempt whose statement counts."""
        return self.attempts[-1] if self.attempts else None


class Passed(msgspec.Struct, frozen=True, gc=False):
    """What this process saw of an answer up to a statement."""

    resp_ct_hash: str
    resp_ct_bytes: int


class InvalidStatement(BadReceipt):
    """Raised when a statement does not fit its claim; `reason` goes into the disposition."""

    code = "invalid_statement"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the statement does not fit its claim: {reason}")
        self.reason = reason


def check_statement(
    statement: Statement,
    claim: Claim,
    *,
    passed: Passed | None,
    held: Statement | None = None,
) -> Attempt:
    """All of SPEC 6.1 but signature and batch; returns the attempt that the statement is of.

    `passed` is None where other processes relayed the answer. Raises `InvalidStatement`.
    """
    attempt = _attempt_of(statement, claim)
    _same(statement, claim, attempt)
    try:
        check_arithmetic(statement)
    except BadReceipt:
        raise InvalidStatement("arithmetic") from None
    _check_caps(statement, claim)
    if passed is not None and (statement.resp_ct_hash, statement.resp_ct_bytes) != (
        passed.resp_ct_hash,
        passed.resp_ct_bytes,
    ):
        raise InvalidStatement("resp_ct_hash")
    if held is not None and held.worker == statement.worker:
        _check_monotone(statement, held)
    return attempt


def _attempt_of(statement: Statement, claim: Claim) -> Attempt:
    for attempt in claim.attempts:
        if (attempt.worker, attempt.ticket) == (statement.worker, statement.ticket):
            return attempt
    raise InvalidStatement("worker_or_ticket")


_FIXED_BY_CLAIM = (
    "c", "h", "id", "payer", "gateway", "tier", "model", "fee_bps", "req_ct_hash",
)  # fmt: skip
_FIXED_BY_ATTEMPT = ("offer", "prices", "weights", "engine")
_of_claim = attrgetter(*_FIXED_BY_CLAIM)
_of_attempt = attrgetter(*_FIXED_BY_ATTEMPT)


def _same(statement: Statement, claim: Claim, attempt: Attempt) -> None:
    """Each field that the claim or the attempt fixes."""
    if _of_claim(statement) == _of_claim(claim) and _of_attempt(statement) == _of_attempt(attempt):
        return
    fixed: list[tuple[object, str]] = [(claim, name) for name in _FIXED_BY_CLAIM]
    fixed += [(attempt, name) for name in _FIXED_BY_ATTEMPT]
    raise InvalidStatement(
        next(name for by, name in fixed if getattr(statement, name) != getattr(by, name))
    )


def _check_caps(statement: Statement, claim: Claim) -> None:
    if statement.tokens.prompt > claim.max_input_tokens:
        raise InvalidStatement("max_input_tokens")
    if statement.tokens.completion > claim.max_output_tokens:
        raise InvalidStatement("max_output_tokens")
    if int(statement.charge_nano) > claim.reserve:
        raise InvalidStatement("max_cost_nano")


def _check_monotone(statement: Statement, held: Statement) -> None:
    """Counters never fall and `seq` rises, so that a later statement takes nothing back."""
    if statement.seq <= held.seq:
        raise InvalidStatement("seq")
    new, old = msgspec.structs.astuple(statement.tokens), msgspec.structs.astuple(held.tokens)
    if any(later < earlier for later, earlier in zip(new, old, strict=True)):
        raise InvalidStatement("tokens")


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a valid or invalid terminal statement leads to; `charge` is 0 unless billed."""

    outcome: Outcome
    charge: Nano = NOTHING


def judge(statement: Statement, claim: Claim, *, attempt: Attempt, now_ms: int) -> Verdict:
    """The disposition of a valid terminal statement of an open claim."""
    if statement.status is Status.PARTIAL:
        raise ValueError("a partial statement settles nothing before the deadline")
    if attempt != claim.winner:
        return Verdict(Outcome.SUPERSEDED)
    if now_ms > claim.deadline_ms:
        return Verdict(Outcome.EXPIRED)
    return Verdict(Outcome.BILLED, Nano(int(statement.charge_nano)))
