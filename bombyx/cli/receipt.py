"""`bombyx receipt`: what a receipt proves, with nothing but its file, and whether it is right."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.cli.receipt_audit import audit
from bombyx.cli.receipt_file import Signed, check_receipt_file, read_limited
from bombyx.money.statement import statement_hash

receipt = typer.Typer(help="Verify a receipt, offline.", no_args_is_help=True)


@receipt.callback()
def _receipt() -> None:
    """Verify a receipt, offline."""


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
    signed = check_receipt_file(read_limited(file), receipt_key)
    statement = signed.statement
    document = {
        "valid": True,
        "worker_known": signed.worker_known,
        "receipt_hash": statement_hash(statement).hex(),
        "statement": msgspec.to_builtins(statement),
    }
    Output(as_json=as_json).answer(document, *_shown(signed))


receipt.command()(audit)


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
