"""A receipt's file, read and verified (SPEC 1.5).

JSON: `{"receipt": {statement, path, batch, signature}, "keyset": {…}}`. The keyset's digest is the
worker that the statement names, and holds the key that signed it.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from bombyx import canonical
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.errors import BadReceipt, NotCanonical, SetupError
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Statement, Status

MAX_FILE_BYTES = 2**20
_KEY_BYTES = 32


class ReceiptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    receipt: Receipt
    keyset: Keyset | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified receipt's statement, and whether the file says whose key signed it."""

    statement: Statement
    worker_known: bool


def check_receipt_file(data: bytes, receipt_key: str | None = None) -> Signed:
    """The statement that the file proves; raises `BadReceipt`, `BadSignature` or `SetupError`."""
    try:
        held = msgspec.json.decode(data, type=ReceiptFile)
        canonical.decode(canonical.encode(held.receipt), Receipt)
    except (msgspec.DecodeError, NotCanonical, RecursionError, UnicodeDecodeError) as error:
        raise BadReceipt(f"this is no receipt file: {error}") from None
    statement = held.receipt.statement
    key = _key(held, receipt_key)
    verify_receipt(held.receipt, key)
    if statement.status is Status.PARTIAL:
        raise BadReceipt("this is a partial statement: the request had not ended")
    return Signed(statement, isinstance(held.keyset, Keyset))


def _key(held: ReceiptFile, given: str | None) -> bytes:
    """The key to check against, out of a keyset that is the statement's worker."""
    if not isinstance(held.keyset, Keyset):
        if given is None:
            raise SetupError("the file holds no keyset: give the worker's --receipt-key")
        return _parse_key(given)
    if keyset_digest(held.keyset) != held.receipt.statement.worker:
        raise BadReceipt("the keyset in the file is not the worker's that the receipt names")
    _check_model(held.keyset, held.receipt.statement)
    if given is not None and _parse_key(given).hex() != held.keyset.receipt_key:
        raise BadReceipt("the keyset in the file has another receipt key than the one given")
    return bytes.fromhex(held.keyset.receipt_key)


def _check_model(keyset: Keyset, statement: Statement) -> None:
    served = {(model.id, model.weights, model.engine) for model in keyset.models}
    if (statement.model, statement.weights, statement.engine) not in served:
        raise BadReceipt("the worker does not serve the model that the receipt names")
    if keyset.boot != statement.boot:
        raise BadReceipt("the receipt is of another boot of the worker")


def _parse_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SetupError("a receipt key is 32 bytes in hex")
    return key


def read_limited(file: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The file's bytes; raises `SetupError` when it cannot be read or is larger than `limit`."""
    try:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise SetupError(f"{file} is larger than {limit} bytes")
    return data
