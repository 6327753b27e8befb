"""The four layers of settings, each a mapping from a setting's name to its value and origin.

An unknown name in the file or the environment refuses here. Messages tell names and places, never
values: any of them may be a secret.
"""

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic_settings import EnvSettingsSource

from bombyx.errors import SetupError
from bombyx.settings.role import Origin, RoleSettings, is_secret

SECTIONS = ("gateway", "worker", "client", "ton")
SECRET_FILE_BYTES = 64 * 1024  # the largest secret is a PEM chain; more is a mistaken path

Layer = dict[str, tuple[Any, Origin]]


def from_defaults(cls: type[RoleSettings]) -> Layer:
    """Every setting of `cls`; the class itself fills in the values."""
    return {name: (None, Origin("default")) for name in cls.model_fields}


def from_flags(overrides: Mapping[str, Any]) -> Layer:
    """What the command line gave; None means "not given"."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return {
        name: (value, Origin("flag", "--" + name.replace("_", "-")))
        for name, value in given.items()
    }


def from_file(cls: type[RoleSettings], section: str, path: Path | None) -> Layer:
    """The table `section` of the file. Raises SetupError for an unknown name or a broken file."""
    if path is None:
        return {}
    table = _read_tables(path).get(section, {})
    for name in table:
        if name not in cls.model_fields:
            raise SetupError(
                f'{path}: [{section}] has no setting "{name}"{suggestion(name, cls.model_fields)}'
            )
    return {name: (value, Origin("file", str(path))) for name, value in table.items()}


def _read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """The file's tables. Raises SetupError when it is no TOML or has others than `SECTIONS`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        # The error tells the line, never the text: a secret may stand there.
        raise SetupError(f"{path}: is not TOML: {error}") from None
    for name, table in document.items():
        if name not in SECTIONS:
            raise SetupError(f"{path}: there is no section [{name}]{suggestion(name, SECTIONS)}")
        if not isinstance(table, dict):
            raise SetupError(f"{path}: {name} must be a table: [{name}]")
    return document


def from_environment(cls: type[RoleSettings], section: str, environ: Mapping[str, str]) -> Layer:
    """`BOMBYX_SECTION_NAME`, and `..._FILE` for secrets. Raises SetupError as the file does."""
    prefix = f"BOMBYX_{section.upper()}_"
    variables = {f"{prefix}{name.upper()}": name for name in cls.model_fields}
    files = {
        f"{variable}_FILE": variable
        for variable, name in variables.items()
        if is_secret(cls.model_fields[name])
    }
    given = {key: value for key, value in environ.items() if key.startswith(prefix)}
    for key in given:
        if key not in variables and key not in files:
            raise SetupError(f"there is no setting {key}{suggestion(key, [*variables, *files])}")
    texts = {key: given[key] for key in variables if key in given}
    where = {key: key for key in texts}
    for key, variable in files.items():
        if key in given:
            if variable in texts:
                raise SetupError(f"{variable} and {key} are both set: keep one")
            texts[variable], where[variable] = _read_secret(key, Path(given[key])), key
    decoded = _decode(cls, prefix, texts)
    return {
        variables[key]: (decoded[variables[key]], Origin("environment", where[key]))
        for key in texts
    }


def _read_secret(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_FILE_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{variable}: {path} cannot be read: {error.strerror}") from None
    if len(data) > SECRET_FILE_BYTES:
        raise SetupError(f"{variable}: {path} is larger than {SECRET_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SetupError(f"{variable}: {path} is not UTF-8") from None


class _Variables(EnvSettingsSource):
    """pydantic-settings' reading of variables (JSON for lists and tables), from a given mapping."""

    def __init__(self, cls: type[RoleSettings], prefix: str, texts: Mapping[str, str]) -> None:
        self._texts = {key.lower(): text for key, text in texts.items()}
        super().__init__(cls, case_sensitive=False, env_prefix=prefix)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._texts


def _decode(cls: type[RoleSettings], prefix: str, texts: Mapping[str, str]) -> dict[str, Any]:
    source = _Variables(cls, prefix, texts)
    decoded: dict[str, Any] = {}
    for name, field in cls.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if variable in texts:
            value, key, is_complex = source.get_field_value(field, name)
            try:
                decoded[name] = source.prepare_field_value(key, field, value, is_complex)
            except ValueError:
                raise SetupError(f"{variable} must be JSON, such as [] or {{}}") from None
    return decoded


def suggestion(name: str, known: Iterable[str]) -> str:
    """` (did you mean "port"?)` for a near miss, else nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
