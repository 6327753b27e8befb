"""Where the settings file and the state lie: named, in the environment, or the usual place."""

import os
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_config_path, user_state_path

from bombyx.errors import SetupError

FILE_NAME = "bombyx.toml"
CONFIG_VARIABLE = "BOMBYX_CONFIG"
STATE_VARIABLE = "BOMBYX_STATE"


def find_config(
    named: Path | None = None, *, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The file to read: the one named, `BOMBYX_CONFIG`, `./bombyx.toml`, the user's; or none.

    Raises SetupError when a file that was named does not exist.
    """
    environ = os.environ if environ is None else environ
    if named is None and environ.get(CONFIG_VARIABLE):
        named = Path(environ[CONFIG_VARIABLE])
    if named is not None:
        if not named.is_file():
            raise SetupError(f"there is no settings file {named}")
        return named
    for candidate in (Path(FILE_NAME), user_config_path("bombyx") / FILE_NAME):
        if candidate.is_file():
            return candidate
    return None


def state_directory(named: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Path:
    """Where keys, databases and journals live: `--state`, `BOMBYX_STATE`, or the XDG place."""
    environ = os.environ if environ is None else environ
    if named is None and environ.get(STATE_VARIABLE):
        named = Path(environ[STATE_VARIABLE])
    return (named or user_state_path("bombyx")).expanduser().absolute()
