"""Where models lie on this machine, and what is there: a folder each (docs/models.md).

The listing may remember digests by size, times and inode; whatever is promised to others, at boot
or by `verify`, is hashed anew.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, Manifest, ManifestFile, manifest_digest
from worker.models.hashing import hash_files
from worker.models.kinds import SOURCE_FILE
from worker.models.manifests import build_manifest, read_manifest
from worker.settings import WorkerSettings

CACHE_FILE = ".digests.json"
PARTIAL_FOLDER = ".partial"
"""Downloads that are not complete; a next `pull` goes on with them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_SOURCE_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model came from; `revision` is the commit, empty where there is none."""

    origin: str
    revision: str = ""

    def write(self, folder: Path) -> None:
        """Keep it beside the model."""
        document = {"origin": self.origin, "revision": self.revision}
        (folder / SOURCE_FILE).write_text(json.dumps(document) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Source":
        """What is written beside a model; it is a note and proves nothing."""
        try:
            with (folder / SOURCE_FILE).open("rb") as file:
                told = json.loads(file.read(_SOURCE_BYTES))
            return cls(str(told["origin"])[:256], str(told["revision"])[:64])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return cls("")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `bombyx models list`; `problem` says why a model cannot be served."""

    name: str
    path: Path
    source: Source
    manifest: Manifest | None
    problem: str = ""

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        made = self.manifest
        return {
            "name": self.name,
            "path": str(self.path),
            "origin": self.source.origin,
            "revision": self.source.revision,
            "size": made.size if made else 0,
            "digest": manifest_digest(made) if made else "",
            "format": made.format if made else "",
            "problem": self.problem,
        }


def store_folder(named: Path | None = None) -> Path:
    """The model store: `--models`, or the platform's place for data."""
    return (named or user_data_path("bombyx") / "models").expanduser().absolute()


def checked_name(name: str) -> str:
    """A name that a folder may have; raises `SetupError`."""
    if _NAME.fullmatch(name) is None:
        raise SetupError("a model's name in the store is 1 to 128 of A-Z a-z 0-9 . _ @ + -")
    return name


def find_model(store: Path, named: str) -> Path:
    """A model by its path, else by its name in the store; raises `SetupError`."""
    path = Path(named).expanduser()
    if path.exists():
        return path.absolute()
    kept = store / named
    if _NAME.fullmatch(named) is None or not kept.exists():
        raise SetupError(f"there is no model {named}, neither as a path nor in {store}")
    return kept


def at_hand(settings: WorkerSettings) -> WorkerSettings:
    """With the place of a model that `model_path` names as the store does; a path stays one."""
    named = settings.model_path
    if named is None or _NAME.fullmatch(str(named)) is None:
        return settings
    kept = store_folder(settings.models) / named
    try:
        is_kept = not named.exists() and kept.exists()
    except OSError:
        return settings  # whoever opens it says what is wrong
    return settings.model_copy(update={"model_path": kept}) if is_kept else settings


def list_models(store: Path) -> list[Listed]:
    """Every model of the store by name, also those that cannot be served."""
    if not store.is_dir():
        return []
    with _remembered(store) as cache:
        return [
            _listed(path, cache)
            for path in sorted(store.iterdir())
            if _NAME.fullmatch(path.name) and (path.is_dir() or path.suffix == ".gguf")
        ]


def _listed(path: Path, cache: "_Cache") -> Listed:
    source = Source.read(path)
    try:
        stored = read_manifest(path / MANIFEST_FILE) if path.is_dir() else None
        manifest = stored or build_manifest(path, hashed=cache.hash)
    except SetupError as error:
        return Listed(path.name, path, source, None, error.message)
    except OSError as error:
        return Listed(path.name, path, source, None, f"cannot be read: {error.strerror}")
    return Listed(path.name, path, source, manifest)


class _Cache:
    """Digests by path, size, time of change and inode."""

    def __init__(self, known: dict[str, list[Any]]) -> None:
        self._known = known
        self.kept: dict[str, list[Any]] = {}

    def hash(self, files: dict[str, Path]) -> list[ManifestFile]:
        found = []
        for relative, path in sorted(files.items()):
            stat = path.stat()
            key = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
            known = self._known.get(str(path))
            if known is not None and known[:-1] == key:
                file = ManifestFile(path=relative, size=stat.st_size, sha256=known[-1])
            else:
                (file,) = hash_files({relative: path})
            self.kept[str(path)] = [*key, file.sha256]
            found.append(file)
        return found


@contextlib.contextmanager
def _remembered(store: Path) -> Iterator[_Cache]:
    cache = _Cache(_read_cache(store / CACHE_FILE))
    yield cache
    if cache.kept:
        with contextlib.suppress(OSError):  # a store that others own
            (store / CACHE_FILE).write_text(json.dumps(cache.kept), encoding="utf-8")


def _read_cache(file: Path) -> dict[str, list[Any]]:
    try:
        read = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = read.items() if isinstance(read, dict) else ()
    return {path: entry for path, entry in entries if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 4 and _is_digest(entry[-1])  # noqa: PLR2004


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None
