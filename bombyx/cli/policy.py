"""`bombyx policy`: what a policy file accepts, in its one spelling."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bombyx.attestation.policy import policy_hash, render_policy
from bombyx.cli.output import JsonOption, Output
from bombyx.client.opening import read_policy

policy = typer.Typer(help="Write and explain which workers may be sealed to.", no_args_is_help=True)


@policy.callback()
def _policy() -> None:
    """Write and explain which workers may be sealed to."""


@policy.command()
def show(file: Annotated[Path, typer.Argument()], *, as_json: JsonOption = False) -> None:
    """Show what a policy file accepts, and the hash that names it."""
    accepted = read_policy(file)
    document = {"hash": policy_hash(accepted), "policy": asdict(accepted)}
    Output(as_json=as_json).answer(document, f"# {document['hash']}", render_policy(accepted))
