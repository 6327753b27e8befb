"""`bombyx config`: which settings hold here, and which file, variable or default gave each."""

import json
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretBytes, SecretStr

from bombyx.cli import catalogue
from bombyx.cli.output import JsonOption, Output
from bombyx.settings import Origin, RoleSettings, find_config, load_settings, state_directory

GROUP = "bombyx.settings"
REDACTED = "**********"
PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*@")

config = typer.Typer(help="Show the settings and where each came from.", no_args_is_help=True)


@config.callback()
def _config() -> None:
    """Show the settings and where each came from."""


@config.command()
def show(
    *,
    file: Annotated[
        Path | None, typer.Option("--config", help="The settings file to read.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Where keys and databases lie.")] = None,
    origin: Annotated[bool, typer.Option("--origin", help="Tell where each came from.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every setting of the roles installed here; secrets are never shown."""
    sections = {
        section: load_settings(cls, section, config=file) for section, cls in _classes().items()
    }
    path = find_config(file)
    document: dict[str, Any] = {
        "file": str(path) if path else None,
        "state": str(state_directory(state)),
        "settings": {
            section: {
                name: _entry(settings, name, of, origin=origin) for name, of in origins.items()
            }
            for section, (settings, origins) in sections.items()
        },
    }
    Output(as_json=as_json).answer(document, _listing(document, origin=origin))


def _classes() -> dict[str, type[RoleSettings]]:
    """The settings class of each section whose role is installed here."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: catalogue.load(point) for point in points if catalogue.is_present(point)}


def _entry(settings: RoleSettings, name: str, of: Origin, *, origin: bool) -> Any:
    value = _shown(getattr(settings, name), settings.model_dump(mode="json")[name])
    return {"value": value, "origin": of.source, "where": of.where} if origin else value


def _shown(value: Any, as_json: Any) -> Any:
    """Secrets and the passwords in URLs are hidden; an unset secret may be seen to be unset."""
    if isinstance(value, SecretStr | SecretBytes):
        return REDACTED
    return PASSWORD_IN_URL.sub(rf"\1:{REDACTED}@", as_json) if isinstance(as_json, str) else as_json


def _listing(document: dict[str, Any], *, origin: bool) -> str:
    lines = [f"# file: {document['file'] or 'none'}", f"# state: {document['state']}"]
    for section, entries in document["settings"].items():
        lines += ["", f"[{section}]"]
        for name, entry in entries.items():
            value = entry["value"] if origin else entry
            where = f"  # {entry['origin']} {entry['where']}".rstrip() if origin else ""
            lines.append(f"{name} = {json.dumps(value)}{where}")
    return "\n".join(lines)
