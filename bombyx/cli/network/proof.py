"""Checking what a network says, for `bombyx demo`: evidence, receipt, debit, ledger."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bombyx import canonical
from bombyx.attestation.policy import Policy
from bombyx.attestation.steps import Step
from bombyx.attestation.verify import examine
from bombyx.cli.network.books import Books
from bombyx.client.directory import collateral_of, parse_directory
from bombyx.errors import BadReceipt, BombyxError, NotCanonical, NoVerifiedWorker, RemoteError
from bombyx.money.cost import Cost, Rates, price
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Statement, tokens_of

SETTLED_SECONDS = 10.0
"""A receipt is settled within a second of the answer's end."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Examined:
    """A worker of the directory, with every step of its verification."""

    worker: str
    steps: tuple[Step, ...]

    @property
    def document(self) -> list[dict[str, str]]:
        """The steps as plain JSON."""
        return [
            {"name": step.name.value, "result": step.result.value, "detail": step.detail}
            for step in self.steps
        ]


def examine_all(listing: bytes, policy: Policy, *, now: int) -> dict[str, Examined]:
    """Every worker in the directory by its id; raises `NoVerifiedWorker` if one is refused."""
    directory = parse_directory(listing, policy)
    found: dict[str, Examined] = {}
    for entry in directory.workers:
        collateral = collateral_of(directory, entry)
        examination = examine(entry.keyset, entry.evidence, collateral, policy=policy, now=now)
        if examination.refusal is not None:
            step = examination.refusal
            raise NoVerifiedWorker(f"a worker is refused: {step.name}: {step.detail}")
        worker = canonical.digest(entry.keyset).hex()
        found[worker] = Examined(worker, examination.steps)
    if not found:
        raise NoVerifiedWorker("the directory lists no worker")
    return found


def refusals_of(listing: bytes, policy: Policy, *, now: int) -> dict[str, str]:
    """Why a policy refuses workers of the directory, by their ids; who passes is left out."""
    directory = parse_directory(listing, policy)
    found: dict[str, str] = {}
    for entry in directory.workers:
        collateral = collateral_of(directory, entry)
        refusal = examine(entry.keyset, entry.evidence, collateral, policy=policy, now=now).refusal
        if refusal is not None:
            found[canonical.digest(entry.keyset).hex()] = f"{refusal.name}: {refusal.detail}"
    return found


@dataclass(frozen=True, slots=True)
class Settled:
    """A request's receipt, verified, and the file that lets others verify it."""

    receipt: Receipt
    file: Mapping[str, Any]

    @property
    def statement(self) -> Statement:
        """What the worker signed."""
        return self.receipt.statement


def await_receipt(books: Books, request_id: str) -> Settled:
    """The settled receipt of a request; raises `BadReceipt` when it does not verify."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while (answer := books.receipt(request_id)).get("state") != "settled":
        if time.monotonic() > deadline:
            raise RemoteError("the gateway has not settled the request")
        time.sleep(_POLL_SECONDS)
    try:
        receipt = canonical.decode(canonical.encode(answer["receipt"]), Receipt)
        key = bytes.fromhex(answer["keyset"]["receipt_key"])
        if canonical.digest(answer["keyset"]).hex() != receipt.statement.worker:
            raise BadReceipt("the receipt is of another worker than the keyset beside it")
        verify_receipt(receipt, key)
    except (KeyError, TypeError, ValueError, NotCanonical):
        raise BadReceipt("the gateway's receipt cannot be read") from None
    return Settled(receipt, {"receipt": answer["receipt"], "keyset": answer["keyset"]})


def recompute(statement: Statement) -> Cost:
    """What the request costs by its tokens and prices alone; raises `BadReceipt`."""
    return price(tokens_of(statement), Rates.of(statement.prices), statement.fee_bps)


def entries_of(books: Books, c: str) -> list[dict[str, str]]:
    """The ledger lines of one request: account, kind, and amount in nano, negative for a debit."""
    entries = [entry for entry in books.ledger()["entries"] if entry["txn"] == c]
    return [
        {
            "account": str(entry["account"]),
            "amount_nano": str(entry["amount_nano"]),
            "kind": str(entry["kind"]),
        }
        for entry in sorted(entries, key=lambda entry: int(entry["id"]))
    ]


def check_books(entries: Sequence[Mapping[str, str]], cost: Cost, *, whole_sum: str) -> None:
    """The request's lines sum to 0, the debit is the cost; raises `BombyxError` otherwise."""
    if sum(int(entry["amount_nano"]) for entry in entries) or int(whole_sum):
        raise BombyxError("the ledger does not sum to zero")
    debits = [int(entry["amount_nano"]) for entry in entries if entry["kind"] == "charge"]
    if debits != [-cost.charge] and (debits or cost.charge):
        raise BombyxError("the ledger's debit is not what the receipt's tokens cost")
