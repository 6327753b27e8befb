"""`bombyx verify`: every step of the argument for each worker of a model (SPEC 17)."""

import re
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from pydantic import SecretStr

from bombyx.attestation.directory import MAX_DIRECTORY_BYTES, Directory, Entry
from bombyx.attestation.keyset import keyset_digest
from bombyx.attestation.policy import Policy
from bombyx.attestation.steps import STEPS
from bombyx.attestation.verify import Examination, examine
from bombyx.cli.output import JsonOption, Output
from bombyx.client import opening
from bombyx.client.directory import collateral_of, parse_directory
from bombyx.client.finding import DIRECTORY_PATH
from bombyx.client.opening import resolve_policy
from bombyx.client.settings import ClientSettings
from bombyx.client.transport_httpx2 import DIRECT
from bombyx.errors import GatewayUnreachable, NoVerifiedWorker, SetupError
from bombyx.settings import load_settings

_OK = 200
_TIMEOUT_SECONDS = 30.0
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MARKS = {"pass": "ok  ", "fail": "FAIL", "unknown": "?   "}


def verify(
    *,
    model: Annotated[str, typer.Option(help="The model whose workers to examine.")],
    policy: Annotated[Path | None, typer.Option(help="Which workers may be sealed to.")] = None,
    url: Annotated[str | None, typer.Option(help="The gateway's URL.")] = None,
    api_key: Annotated[str | None, typer.Option(help="The gateway's API key.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the workers of a model, step by step; exits 1 if none may be sealed to."""
    given = {"policy": policy, "gateway": url, "api_key": api_key}
    settings, _ = load_settings(ClientSettings, "client", given, config=config)
    accepted = resolve_policy(None, settings)
    if settings.gateway is None:
        raise SetupError("name the gateway: --url URL, or BOMBYX_CLIENT_GATEWAY")
    origin = str(settings.gateway).rstrip("/").removesuffix("/v1")
    directory = parse_directory(_fetch(origin, model, settings.api_key), accepted)
    examined = [(entry, _examine(directory, entry, accepted)) for entry in directory.workers]
    output = Output(as_json=as_json)
    document = {
        "gateway": directory.gateway,
        "model": model,
        "workers": [_document(entry, found) for entry, found in examined],
    }
    output.answer(document, *(_table(entry, found) for entry, found in examined))
    if all(found.refusal is not None for _, found in examined):
        raise NoVerifiedWorker(f"no worker of {model} passes the policy")


def _fetch(origin: str, model: str, key: SecretStr | None) -> bytes:
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        with httpx2.Client(timeout=_TIMEOUT_SECONDS, mounts=DIRECT) as client:
            answer = client.get(origin + DIRECTORY_PATH, params={"model": model}, headers=headers)
    except httpx2.TransportError as error:
        kind = type(error).__name__
        raise GatewayUnreachable(f"{origin} cannot be reached ({kind})") from None
    if answer.status_code != _OK:
        raise GatewayUnreachable(f"{origin} answered {answer.status_code} for its directory")
    if len(answer.content) > MAX_DIRECTORY_BYTES:
        raise GatewayUnreachable(f"the directory of {origin} is too large")
    return answer.content


def _examine(directory: Directory, entry: Entry, policy: Policy) -> Examination:
    collateral = collateral_of(directory, entry)
    return examine(
        entry.keyset, entry.evidence, collateral, policy=policy, now=opening.unix_seconds()
    )


def _document(entry: Entry, found: Examination) -> dict[str, Any]:
    return {
        "worker": keyset_digest(entry.keyset),
        "platform": entry.keyset.platform,
        "verified": found.refusal is None,
        "steps": [
            {"name": str(step.name), "result": str(step.result), "detail": step.detail}
            for step in found.steps
        ],
    }


def _table(entry: Entry, found: Examination) -> str:
    verdict = "may be sealed to" if found.refusal is None else "REFUSED"
    lines = [f"worker {keyset_digest(entry.keyset)} ({entry.keyset.platform}): {verdict}"]
    for step in found.steps:
        # Details can quote what a stranger sent: no escape sequence reaches the terminal.
        detail = CONTROL.sub("?", step.detail)
        lines += [f"  {MARKS[step.result]} {step.name:<27} {detail}", f"       {STEPS[step.name]}"]
    return "\n".join(lines)
