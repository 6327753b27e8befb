"""When an answer is complete (SPEC 3.9): its receipt says what was asked, sent and seen.

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
from bombyx.errors import BadReceipt, BadSignature, NotCanonical
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.settlement import Attempt, Claim, InvalidStatement, Passed, check_statement
from bombyx.money.statement import Status, statement_hash
from bombyx.units import Nano


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A sealed request with all that its answer is checked against; `encoded` is what is sent."""

    request: SealedRequest
    encoded: bytes
    chosen: Mapping[str, Chosen]
    stream: bool

    @property
    def id(self) -> str:
        """The request's id in hex."""
        return self.request.header.header.id


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """An answer whose end and receipt were verified; the receipt is its proof and its bill."""

    receipt: Receipt
    keyset: Keyset

    @property
    def receipt_hash(self) -> str:
        """Hash of the statement, by which others name the receipt."""
        return statement_hash(self.receipt.statement).hex()

    def summary(self) -> dict[str, Any]:
        """The `bombyx` object inside an answer's usage."""
        statement = self.receipt.statement
        return {
            "id": statement.id,
            "tier": statement.tier,
            "worker": statement.worker,
            "receipt_hash": self.receipt_hash,
            "charge_nano": statement.charge_nano,
            "verified": True,
        }

    def document(self) -> dict[str, Any]:
        """A receipt file: JSON that `bombyx receipt verify` checks offline."""
        return {
            "receipt": msgspec.to_builtins(self.receipt),
            "keyset": msgspec.to_builtins(self.keyset),
        }


def verify_answer(
    sealed: Sealed, *, worker: str, usage: UsageSeen, status: Status, end: str
) -> VerifiedAnswer:
    """Check the last receipt of an answer that `worker` sealed; raises `BadReceipt`.

    `status` is what the receipt must say, `end` the statement's hash in the end frame.
    """
    chosen = sealed.chosen[worker]
    try:
        receipt = canonical.decode(usage.receipt, Receipt)
        verify_receipt(receipt, bytes.fromhex(chosen.worker.keyset.receipt_key))
        _check_fields(sealed, chosen, receipt, usage)
    except InvalidStatement as error:
        raise BadReceipt(f"the receipt is for something else: {error.reason}") from None
    except (NotCanonical, BadSignature) as error:
        raise BadReceipt(f"the receipt is not genuine: {error.message}") from None
    if receipt.statement.status is not status:
        raise BadReceipt(f"the receipt says {receipt.statement.status}, the answer is {status}")
    if statement_hash(receipt.statement).hex() != end:
        raise BadReceipt("the end of the answer names another statement")
    return VerifiedAnswer(receipt, chosen.worker.keyset)


def _check_fields(sealed: Sealed, chosen: Chosen, receipt: Receipt, usage: UsageSeen) -> None:
    statement, keyset = receipt.statement, chosen.worker.keyset
    passed = Passed(usage.resp_ct_hash.hex(), usage.resp_ct_bytes)
    check_statement(statement, _claim(sealed, chosen, statement.ticket), passed=passed)
    if statement.boot != keyset.boot:
        raise InvalidStatement("boot")


def _claim(sealed: Sealed, chosen: Chosen, ticket: str) -> Claim:
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
