"""When a statement is believed, and an answer complete (SPEC 3.9, 6.1): it says what was asked.

Uses the same check as the gateway's settlement, so that both sides accept the same statements.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from bombyx import canonical
from bombyx.attestation.keyset import Keyset
from bombyx.client.choice import Chosen
from bombyx.envelope.opener import UsageSeen
from bombyx.envelope.request import SealedRequest
from bombyx.envelope.response import Padding
from bombyx.errors import BadReceipt, BadSignature, NotCanonical
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.settlement import Attempt, Claim, InvalidStatement, Passed, check_statement
from bombyx.money.statement import Statement, Status, statement_hash
from bombyx.units import Nano


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A sealed request with all that its answer is checked against; `encoded` is what is sent."""

    request: SealedRequest
    encoded: bytes
    chosen: Mapping[str, Chosen]
    stream: bool
    padding: Padding = Padding.BUCKET
    deadline: int = 0
    """Unix seconds: by when its gateway must have settled it (SPEC 7.9)."""
    body: bytes = b""
    """The request in clear, kept only for a transcript that the user asked for."""

    @property
    def id(self) -> str:
        """The request's id in hex."""
        return self.request.header.header.id

    @property
    def path(self) -> str:
        """The path that was asked, whose form the answer has."""
        return self.request.header.header.path


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """An answer whose end and receipt were verified; the receipt is its proof and its bill."""

    receipt: Receipt
    keyset: Keyset
    padding: Padding = Padding.BUCKET

    @property
    def receipt_hash(self) -> str:
        """Hash of the statement, by which others name the receipt."""
        return statement_hash(self.receipt.statement).hex()

    def summary(self) -> dict[str, Any]:
        """The `bombyx` object inside an answer's usage; names padding where it was given up."""
        statement = self.receipt.statement
        return {
            "id": statement.id,
            "tier": statement.tier,
            "worker": statement.worker,
            "receipt_hash": self.receipt_hash,
            "charge_nano": statement.charge_nano,
            "verified": True,
            **({"padding": self.padding.value} if self.padding is Padding.EXACT else {}),
        }

    def document(self) -> dict[str, Any]:
        """A receipt file: JSON that `bombyx receipt verify` checks offline."""
        return {
            "receipt": msgspec.to_builtins(self.receipt),
            "keyset": msgspec.to_builtins(self.keyset),
        }


def verify_statement(
    sealed: Sealed,
    document: bytes,
    *,
    worker: str,
    passed: Passed | None,
    held: Statement | None = None,
) -> Receipt:
    """A genuine statement of `worker` about exactly our request; raises `BadReceipt`.

    `passed` is what had come of the answer before it, None where none was seen; `held` the
    statement before, of which nothing may be taken back.
    """
    chosen = sealed.chosen[worker]
    try:
        receipt = canonical.decode(document, Receipt)
        verify_receipt(receipt, bytes.fromhex(chosen.worker.keyset.receipt_key))
        statement = receipt.statement
        claim = claim_of(sealed, chosen, ticket=statement.ticket)
        check_statement(statement, claim, passed=passed, held=held)
        _check_boot(statement, chosen)
    except InvalidStatement as error:
        raise BadReceipt(f"the receipt is for something else: {error.reason}") from None
    except (NotCanonical, BadSignature) as error:
        raise BadReceipt(f"the receipt is not genuine: {error.message}") from None
    return receipt


def _check_boot(statement: Statement, chosen: Chosen) -> None:
    if statement.boot != chosen.worker.keyset.boot:
        raise InvalidStatement("boot")


def verify_usage(
    sealed: Sealed, usage: UsageSeen, *, worker: str, held: Statement | None
) -> Receipt:
    """The statement of a usage frame, against all that came before it; raises `BadReceipt`."""
    passed = Passed(usage.resp_ct_hash.hex(), usage.resp_ct_bytes)
    return verify_statement(sealed, usage.receipt, worker=worker, passed=passed, held=held)


def verified_answer(
    sealed: Sealed, receipt: Receipt, *, worker: str, status: Status, end: str
) -> VerifiedAnswer:
    """What a verified last receipt makes of an answer; raises `BadReceipt`.

    `status` is what the receipt must say, `end` the statement's hash in the end frame.
    """
    if receipt.statement.status is not status:
        raise BadReceipt(f"the receipt says {receipt.statement.status}, the answer is {status}")
    if statement_hash(receipt.statement).hex() != end:
        raise BadReceipt("the end of the answer names another statement")
    return VerifiedAnswer(receipt, sealed.chosen[worker].worker.keyset, sealed.padding)


def claim_of(sealed: Sealed, chosen: Chosen, *, ticket: str) -> Claim:
    """The request as its payer knows it. The ticket is the gateway's, opaque to us."""
    request = sealed.request
    header, model = request.header.header, chosen.terms.model
    attempt = Attempt(
        number=0,
        worker=chosen.worker.worker_id,
        ticket=ticket,
        offer=chosen.offer_hash,
        prices=chosen.offer.prices,
        weights=model.weights,
        engine=model.engine,
    )
    return Claim(
        c=request.c.hex(),
        h=request.header.h.hex(),
        id=header.id,
        payer=header.payer,
        gateway=header.gateway,
        tier=header.tier,
        model=header.model,
        fee_bps=header.fee_bps,
        reserve=Nano(int(header.max_cost_nano)),
        max_input_tokens=header.max_input_tokens,
        max_output_tokens=header.max_output_tokens,
        req_ct_hash=request.req_ct_hash.hex(),
        deadline_ms=0,
        attempts=(attempt,),
    )
