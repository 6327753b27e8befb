"""A model's folder read with suspicion: no way out of it, nothing odd in it, bounded (SPEC 1.8)."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bombyx.errors import SetupError
from bombyx.manifest import MAX_FILES
from worker.models.kinds import OWN_FILES, Kind, check_kind, kind_of

MAX_MODEL_BYTES = 4 * 2**40
"""The largest open models have about 2 TB."""
MAX_SETTINGS_BYTES = 4 * 2**20
"""A `*config*.json`; those with every option written out have some 200 KiB."""
_MAX_DEPTH = 4
_MAX_HEADER_BYTES = 100_000_000
"""As the safetensors library has it."""
_EMPTY_HEADER = b"{}"
_GGUF_MAGIC = b"GGUF"


def files_of(folder: Path) -> dict[str, Path]:
    """The files that a manifest of this folder lists, by relative path, in order.

    Raises `SetupError` for a pickle, code, an unknown file, a link out of the folder, anything that
    is no plain file, and for more than a model can be.
    """
    found: dict[str, Path] = {}
    total = 0
    for path, relative in _walk(folder, folder.resolve(), depth=0):
        if relative in OWN_FILES or check_kind(relative) is Kind.PAPER:
            continue
        found[relative] = path
        total += path.stat().st_size
        if len(found) > MAX_FILES or total > MAX_MODEL_BYTES:
            raise SetupError(f"{folder} holds more than a model can be")
    return dict(sorted(found.items()))


def _walk(folder: Path, root: Path, *, depth: int) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise SetupError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        path = Path(entry.path)
        relative = path.relative_to(root).as_posix() if depth else entry.name
        if entry.is_symlink():
            _check_link(path, root, relative)
        if entry.is_dir():
            _check_folder(entry, relative, depth)
            yield from _walk(root / relative, root, depth=depth + 1)
        elif stat.S_ISREG(entry.stat().st_mode):
            yield path, relative
        else:
            raise SetupError(f"{relative}: is no plain file")


def _check_link(path: Path, root: Path, relative: str) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise SetupError(f"{relative}: is a link to nothing") from None
    if not target.is_relative_to(root):
        raise SetupError(
            f"{relative}: is a link that leaves the folder; copy the file itself (cp -L)"
        )


def _check_folder(entry: "os.DirEntry[str]", relative: str, depth: int) -> None:
    if entry.is_symlink():
        raise SetupError(f"{relative}: is a link to a folder")
    if entry.name.startswith("."):
        raise SetupError(f"{relative}: is a hidden folder; remove it")
    if depth >= _MAX_DEPTH:
        raise SetupError(f"{relative}: lies too deep")


def check_content(path: Path, relative: str) -> None:
    """Look into one file: weights are what they are called, settings bring no code.

    Raises `SetupError`.
    """
    kind = kind_of(relative)
    if kind is Kind.SAFETENSORS:
        _check_safetensors(path, relative)
    elif kind is Kind.GGUF:
        with path.open("rb") as file:
            if file.read(4) != _GGUF_MAGIC:
                raise SetupError(f"{relative}: is no GGUF file, whatever its name says")
    elif _is_settings(relative) and names_code(read_settings(path, relative)):
        raise SetupError(
            f"{relative}: has auto_map, which runs the model's own Python; it is not served"
        )


def _is_settings(relative: str) -> bool:
    return relative.endswith(".json") and "config" in relative.rpartition("/")[2]


def _check_safetensors(path: Path, relative: str) -> None:
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    fits = len(_EMPTY_HEADER) <= length <= min(_MAX_HEADER_BYTES, path.stat().st_size - 8)
    if not fits or start[8:] != b"{":
        raise SetupError(f"{relative}: is no safetensors file, whatever its name says")


def read_settings(path: Path, relative: str) -> Any:
    """A JSON file of bounded size; raises `SetupError`."""
    if path.stat().st_size > MAX_SETTINGS_BYTES:
        raise SetupError(f"{relative}: is too long to be settings")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise SetupError(f"{relative}: is no JSON") from None


def names_code(settings: Any) -> bool:
    """Whether any part of the settings names Python to load."""
    waiting = [settings]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "auto_map" in one:
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False
