"""`bombyx receipt`: check a receipt with nothing but its file (SPEC 1.5).

A receipt file is JSON: `{"receipt": {statement, path, batch, signature}, "keyset": {…}}`. The
keyset's digest is the worker that the statement names, and holds the key that signed it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import UNSET, UnsetType

from bombyx import canonical
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.cli.output import JsonOption, Output
from bombyx.errors import BadReceipt, NotCanonical, SetupError
from bombyx.money.receipt import Receipt, verify_receipt
from bombyx.money.statement import Statement, Status, statement_hash

MAX_FILE_BYTES = 2**20
_KEY_BYTES = 32

receipt = typer.Typer(help="Verify a receipt, offline.", no_args_is_help=True)


@receipt.callback()
def _receipt() -> None:
    """Verify a receipt, offline."""


class ReceiptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds."""

    receipt: Receipt
    keyset: Keyset | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified receipt's statement, and whether the file says whose key signed it."""

    statement: Statement
    worker_known: bool


@receipt.command()
def verify(
    file: Annotated[Path, typer.Argument()],
    *,
    receipt_key: Annotated[
        str | None, typer.Option(help="The worker's receipt key in hex, if the file lacks it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a receipt's signature, batch and amounts; exits 1 if one digit was changed."""
    signed = check_receipt_file(_read(file), receipt_key)
    statement = signed.statement
    document = {
        "valid": True,
        "worker_known": signed.worker_known,
        "receipt_hash": statement_hash(statement).hex(),
        "statement": msgspec.to_builtins(statement),
    }
    Output(as_json=as_json).answer(document, *_shown(signed))


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


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SetupError(f"{file} is too large for a receipt")
    return data


def _shown(signed: Signed) -> list[str]:
    statement = signed.statement
    tokens = statement.tokens
    worker = "its keyset is in the file" if signed.worker_known else "its key was given by you"
    return [
        f"valid: {statement.status} receipt of request {statement.id}",
        f"  worker  {statement.worker} ({worker})",
        f"  model   {statement.model}, weights {statement.weights[:16]}…",
        (
            f"  tokens  prompt {tokens.prompt} (cached {tokens.cached}), "
            f"completion {tokens.completion} (reasoning {tokens.reasoning})"
        ),
        (
            f"  charge  {statement.charge_nano} nano: {statement.amount_nano} to the worker, "
            f"{statement.fee_nano} to the gateway"
        ),
        "  whether that worker is to be trusted is what `bombyx verify` examines",
    ]
