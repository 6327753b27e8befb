"""A 409 `outcome`: the request ran before, and its answer is gone (SPEC 14.2).

Only a worker's signature makes that believable: a gateway could charge for an answer that nobody
ever gave. Without a receipt the gateway's word is passed on as what it is.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from bombyx.client.receipts import Sealed, VerifiedAnswer, verify_statement
from bombyx.errors import AlreadyAnswered, BadReceipt
from bombyx.money.receipt import Receipt

CONFLICT = 409


class _Error(msgspec.Struct, frozen=True):
    code: str = ""


class _Outcome(msgspec.Struct, frozen=True):
    error: _Error
    receipt: msgspec.Raw | UnsetType = UNSET


def read_outcome(status: int, body: bytes) -> bytes | None:
    """The receipt of an outcome; None for any other answer, and for one without a receipt."""
    if status != CONFLICT:
        return None
    try:
        outcome = msgspec.json.decode(body, type=_Outcome)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if outcome.error.code != AlreadyAnswered.code or isinstance(outcome.receipt, UnsetType):
        return None
    return bytes(outcome.receipt)


def verify_outcome(sealed: Sealed, document: bytes) -> VerifiedAnswer:
    """The answer that the receipt proves to have been given; raises `BadReceipt`."""
    worker = _worker_of(document)
    if worker not in sealed.chosen:
        raise BadReceipt("the receipt is by a worker that was not asked")
    receipt = verify_statement(sealed, document, worker=worker, passed=None)
    return VerifiedAnswer(receipt, sealed.chosen[worker].worker.keyset, sealed.padding)


def proven(answer: VerifiedAnswer) -> AlreadyAnswered:
    """What the SDK is told of a request that ran, as its receipt shows."""
    statement = answer.receipt.statement
    return AlreadyAnswered(
        f"the request was run before and its answer is no longer kept; its receipt is verified "
        f"and charges {statement.charge_nano} nano for {statement.tokens.completion} tokens",
        c=bytes.fromhex(statement.c),
    )


def _worker_of(document: bytes) -> Any:
    try:
        return msgspec.json.decode(document, type=Receipt).statement.worker
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadReceipt("the gateway's receipt is none") from None
