"""Receipts: a statement, its path, its batch and the worker's signature (SPEC 1.5)."""

from typing import Annotated

from msgspec import Meta

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.errors import BadReceipt
from bombyx.money.batch import Batch, leaf_hash, root_from_path
from bombyx.money.statement import Statement, check_arithmetic
from bombyx.signing import Kind, verify
from bombyx.units import Hex32, Hex64


class Receipt(Document, frozen=True):
    """A statement that anyone can check with nothing but the worker's receipt key."""

    statement: Statement
    path: Annotated[list[Hex32], Meta(max_length=6)]
    batch: Batch
    signature: Hex64


def check_membership(receipt: Receipt) -> None:
    """The statement lies in the batch that it claims; raises `BadReceipt`."""
    statement, batch = receipt.statement, receipt.batch
    if (batch.boot, batch.gateway) != (statement.boot, statement.gateway):
        raise BadReceipt("the batch belongs to another worker boot or gateway")
    leaf = leaf_hash(canonical.encode(statement))
    path = [bytes.fromhex(sibling) for sibling in receipt.path]
    root = root_from_path(leaf, statement.n - batch.first_n, batch.count, path)
    if root.hex() != batch.root:
        raise BadReceipt("the statement is not in the batch that its path leads to")


def verify_receipt(receipt: Receipt, receipt_key: bytes) -> None:
    """Membership, signature and arithmetic; raises `BadReceipt` or `BadSignature`.

    What the receipt must say about a request is the caller's to check (SPEC 3.9, 6.1).
    """
    check_membership(receipt)
    verify(Kind.BATCH, receipt.batch, bytes.fromhex(receipt.signature), receipt_key)
    check_arithmetic(receipt.statement)
