"""`bombyx verify`: every step of the argument for each worker of a model (SPEC 17).

Asks a gateway, or, with `--bundle`, takes a decision that was made before and checks it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx2
import msgspec
import typer
from pydantic import SecretStr

from bombyx.attestation.bundle import Case
from bombyx.attestation.directory import MAX_DIRECTORY_BYTES
from bombyx.attestation.factors import STEP_OF
from bombyx.attestation.keyset import keyset_digest
from bombyx.attestation.policy import Policy
from bombyx.attestation.steps import STEPS, StepName
from bombyx.attestation.verify import Examination
from bombyx.cli.bundle import check_bundle, describe_bundle, refusal_of, save_bundle
from bombyx.cli.output import JsonOption, Output
from bombyx.cli.steps import printable, step_line
from bombyx.cli.verify_gateway import show_gateway
from bombyx.client import opening
from bombyx.client.directory import collateral_of, parse_directory, vendor_of
from bombyx.client.finding import DIRECTORY_PATH
from bombyx.client.opening import resolve_policy
from bombyx.client.settings import ClientSettings
from bombyx.client.transport_httpx2 import DIRECT
from bombyx.errors import BadAnswer, GatewayUnreachable, NoVerifiedWorker, SetupError
from bombyx.settings import load_settings

_OK = 200
_TIMEOUT_SECONDS = 30.0
MODELS_PATH = "/v1/models"
MAX_MODELS = 256


def verify(  # noqa: PLR0913  (options of a command)
    gateway: Annotated[str | None, typer.Argument(help="The gateway's URL.")] = None,
    *,
    model: Annotated[
        str | None, typer.Option(help="The model whose workers to examine; else all of them.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Which workers may be sealed to: a file or a preset.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The same as the argument.")] = None,
    api_key: Annotated[str | None, typer.Option(help="The gateway's API key.")] = None,
    of_gateway: Annotated[
        bool, typer.Option("--gateway", help="Examine the gateway's own evidence (RA-TLS).")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="A folder that gets each decision as a bundle.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Check this bundle again, offline, as of its own time.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the workers of a model, step by step; exits 1 if none may be sealed to."""
    output = Output(as_json=as_json)
    if bundle is not None:
        _recheck(bundle, policy, output)
        return
    given = {"policy": policy, "gateway": gateway or url, "api_key": api_key}
    settings, _ = load_settings(ClientSettings, "client", given, config=config)
    accepted = resolve_policy(None, settings)
    if settings.gateway is None:
        raise SetupError("name the gateway: bombyx verify URL, --url URL, or BOMBYX_CLIENT_GATEWAY")
    if of_gateway:
        show_gateway(_origin(settings), accepted, output)
        return
    site = _Site(_origin(settings), settings.api_key)
    models = site.models() if model is None else [model]
    found = [one for name in models for one in site.examine(name, accepted)]
    saved = [] if save is None else [save_bundle(save, one.case, one.outcome) for one in found]
    document = {
        "gateway": site.identity,
        "models": models,
        "workers": [_document(one) for one in found],
        "saved": [str(path) for path in saved],
    }
    lines = [f"saved {path}" for path in saved]
    output.answer(document, *map(_table, found), *lines)
    for name in models:
        _require_one(name, [one for one in found if one.model == name])


def _origin(settings: ClientSettings) -> str:
    return str(settings.gateway).rstrip("/").removesuffix("/v1")


@dataclass(frozen=True, slots=True)
class _Examined:
    """A worker of a model, with what it showed and what that came to."""

    model: str
    case: Case
    outcome: Examination


class _Site:
    """A gateway as a client asks it; `identity` is its key once a directory named it."""

    def __init__(self, origin: str, key: SecretStr | None) -> None:
        self._origin = origin
        self._key = key
        self.identity = ""

    def models(self) -> list[str]:
        """Names of the models that somebody serves."""
        try:
            listing = msgspec.json.decode(self._get(MODELS_PATH, {}))
            names = sorted({str(one["id"]) for one in listing["data"]})
        except (msgspec.DecodeError, KeyError, TypeError):
            raise BadAnswer("the gateway's list of models is none") from None
        if not names:
            raise NoVerifiedWorker("no worker is linked to the gateway")
        return names[:MAX_MODELS]

    def examine(self, model: str, policy: Policy) -> list[_Examined]:
        """Every worker of a model."""
        directory = parse_directory(self._get(DIRECTORY_PATH, {"model": model}), policy)
        self.identity = directory.gateway
        found = []
        for entry in directory.workers:
            case = Case(
                entry.keyset,
                entry.evidence,
                collateral_of(directory, entry),
                vendor_of(directory, entry),
                policy,
                opening.unix_seconds(),
            )
            found.append(_Examined(model, case, case.examine()))
        return found

    def _get(self, path: str, query: dict[str, str]) -> bytes:
        key = self._key
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        try:
            with httpx2.Client(timeout=_TIMEOUT_SECONDS, mounts=DIRECT) as client:
                answer = client.get(self._origin + path, params=query, headers=headers)
        except httpx2.TransportError as error:
            kind = type(error).__name__
            raise GatewayUnreachable(f"{self._origin} cannot be reached ({kind})") from None
        if answer.status_code != _OK:
            raise GatewayUnreachable(f"{self._origin} answered {answer.status_code} for {path}")
        if len(answer.content) > MAX_DIRECTORY_BYTES:
            raise GatewayUnreachable(f"{path} of {self._origin} is too large")
        return answer.content


def _require_one(model: str, found: Iterable[_Examined]) -> None:
    """Some worker of the model passes; raises `NoVerifiedWorker` with the reason of the first."""
    refusals = [one.outcome.refusal for one in found]
    if all(refusal is not None for refusal in refusals):
        why = "".join(f": {printable(one.detail)}" for one in refusals[:1] if one)
        raise NoVerifiedWorker(f"no worker of {printable(model)} passes the policy{why}")


def _recheck(path: Path, policy: Path | None, output: Output) -> None:
    # Only a policy that is named here is held against an old decision, never the settings'.
    own = None if policy is None else resolve_policy(None, ClientSettings(policy=policy))
    bundle, reproduced, under_own = check_bundle(path, own)
    shown = under_own or reproduced
    refusal = refusal_of(bundle, under_own)
    document = {**describe_bundle(bundle), "ok": refusal is None, "steps": _steps(shown)}
    made = datetime.fromtimestamp(bundle.decision.at, tz=UTC)
    output.answer(
        document,
        f"decision of {made:%Y-%m-%d %H:%M:%S} UTC under policy {bundle.decision.policy}: "
        f"{'accepted' if bundle.decision.accepted else 'REFUSED'}, and reproduced",
        _shown(bundle.decision.worker, bundle.keyset.platform, shown),
    )
    if refusal is not None:
        raise refusal


def _document(one: _Examined) -> dict[str, Any]:
    return {
        "worker": keyset_digest(one.case.keyset),
        "model": one.model,
        "platform": one.case.keyset.platform,
        "verified": one.outcome.refusal is None,
        "steps": _steps(one.outcome),
    }


def _steps(found: Examination) -> list[dict[str, Any]]:
    return [
        {
            "name": str(step.name),
            "result": str(step.result),
            "detail": step.detail,
            "factors": [str(factor) for factor in _factors(step.name)],
        }
        for step in found.steps
    ]


def _factors(name: StepName) -> list[str]:
    """The factors of the checklist that a step answers for (docs/attestation.md)."""
    return [str(factor) for factor, step in STEP_OF.items() if step is name]


def _table(one: _Examined) -> str:
    return _shown(keyset_digest(one.case.keyset), one.case.keyset.platform, one.outcome)


def _shown(worker: str, platform: str, found: Examination) -> str:
    verdict = "may be sealed to" if found.refusal is None else "REFUSED"
    lines = [f"worker {worker} ({platform}): {verdict}"]
    for step in found.steps:
        lines += [step_line(step), f"       {STEPS[step.name]}"]
    return "\n".join(lines)
