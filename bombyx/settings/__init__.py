"""Settings of every role: where a value comes from, and which of two wins.

One rule for all: a flag beats the environment (`BOMBYX_GATEWAY_PORT`, or `..._FILE` for a secret),
which beats the file (`bombyx.toml`, one table per role), which beats the default. A name that no
role knows refuses: a misspelt limit must not be a limit that silently is not there. Roles subclass
`RoleSettings`; constructing one directly reads nothing but its arguments, so that only
`load_settings` knows files and environment. Errors name the setting and its origin, never a value.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bombyx.errors import SetupError
from bombyx.settings.places import find_config, state_directory
from bombyx.settings.role import HOLDS_PASSWORD, Origin, RoleSettings, is_secret
from bombyx.settings.sources import (
    SECTIONS,
    Layer,
    from_defaults,
    from_environment,
    from_file,
    from_flags,
)

__all__ = [
    "HOLDS_PASSWORD",
    "SECTIONS",
    "Origin",
    "RoleSettings",
    "find_config",
    "is_secret",
    "load_settings",
    "state_directory",
]

Settings = TypeVar("Settings", bound=RoleSettings)


def load_settings(
    cls: type[Settings],
    section: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Settings, dict[str, Origin]]:
    """The settings of `section` and the origin of each.

    `overrides` are the command's flags; None there means "not given". `config` names the file; else
    it is looked for (`find_config`). Raises SetupError for an unknown name, an unreadable file or a
    value that does not fit.
    """
    environ = os.environ if environ is None else environ
    path = find_config(config, environ=environ)
    layers = (
        from_defaults(cls),
        from_file(cls, section, path),
        from_environment(cls, section, environ),
        from_flags(overrides or {}),
    )
    merged: Layer = {}
    for layer in layers:
        merged.update(_spread(cls, layer))
    origins = {name: origin for name, (_, origin) in merged.items()}
    given = {name: value for name, (value, origin) in merged.items() if origin.source != "default"}
    try:
        return cls(**given), origins
    except ValidationError as error:
        raise SetupError(_sentence(section, error, origins)) from None


def _spread(cls: type[RoleSettings], layer: Layer) -> Layer:
    """With all that `STANDS_FOR` makes of it."""
    made: Layer = {}
    for name, make in cls.STANDS_FOR.items():
        value, origin = layer.get(name, (None, Origin("default")))
        if value is not None:
            made |= {other: (one, origin) for other, one in make(value).items()}
    return made | layer


def _sentence(section: str, error: ValidationError, origins: Mapping[str, Origin]) -> str:
    """What is wrong with which settings; pydantic's `input` stays out, it may be a secret."""
    complaints = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        origin = origins.get(str(problem["loc"][0])) if problem["loc"] else None
        source = f" (from {origin})" if origin else ""
        complaints.append(f"{name}: {problem['msg']}{source}" if name else problem["msg"])
    return f"[{section}] " + "; ".join(complaints)
