"""`bombyx policy`: what a policy accepts, in its one spelling and in sentences."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bombyx.attestation.explain import explain as explained
from bombyx.attestation.policy import PRESETS, Policy, policy_hash, render_policy
from bombyx.cli.output import JsonOption, Output
from bombyx.client.opening import read_policy, resolve_policy
from bombyx.client.settings import ClientSettings
from bombyx.settings import load_settings

policy = typer.Typer(help="Write and explain which workers may be sealed to.", no_args_is_help=True)
_NAMES = ", ".join(PRESETS)


@policy.callback()
def _policy() -> None:
    """Write and explain which workers may be sealed to."""


@policy.command()
def show(
    file: Annotated[Path, typer.Argument(help=f"A policy file, or one of {_NAMES}.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy file accepts, and the hash that names it."""
    accepted = read_policy(file)
    document = {"hash": policy_hash(accepted), "policy": asdict(accepted)}
    Output(as_json=as_json).answer(document, f"# {document['hash']}", render_policy(accepted))


@policy.command()
def explain(
    *,
    policy: Annotated[
        Path | None, typer.Option(help=f"A policy file, or one of {_NAMES}; else the settings'.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say in plain sentences what passes, what is refused and what stays unknown."""
    settings, _ = load_settings(ClientSettings, "client", {"policy": policy}, config=config)
    accepted = resolve_policy(None, settings)
    told = explained(accepted)
    document = {"hash": policy_hash(accepted), "network": accepted.network, **asdict(told)}
    Output(as_json=as_json).answer(document, *_lines(accepted, asdict(told)))


def _lines(accepted: Policy, told: dict[str, tuple[str, ...]]) -> list[str]:
    lines = [f"Policy {policy_hash(accepted)}, for the network {accepted.network}."]
    for title, sentences in told.items():
        lines += ["", f"{_TITLES[title]}:", *(f"  - {one}" for one in sentences)]
    return lines


_TITLES = {"passes": "Passes", "refused": "Is refused", "unknown": "Stays unknown"}
