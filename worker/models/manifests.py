"""Manifests of folders: made, written beside the model, and held against it (SPEC 1.8).

Every call hashes every byte: what was hashed yesterday may have been changed since.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import UNSET, UnsetType

from bombyx import canonical
from bombyx.errors import NotCanonical, SetupError
from bombyx.manifest import (
    MANIFEST_FILE,
    VERSION,
    Manifest,
    ManifestEngine,
    ManifestFile,
    differences,
)
from worker.models.folder import check_content, files_of, read_settings
from worker.models.hashing import Advance, hash_files, ignore
from worker.models.kinds import Kind, kind_of

MAX_MANIFEST_BYTES = 2 * 2**20
"""4096 files with paths of 256 characters have 1.5 MiB."""
_MOST_TOLD = 5
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")


def build_manifest(
    model: Path,
    *,
    engine: ManifestEngine | UnsetType = UNSET,
    advance: Advance = ignore,
    hashed: Callable[[dict[str, Path]], list[ManifestFile]] | None = None,
) -> Manifest:
    """The manifest of a folder, or of a single GGUF file; raises `SetupError`.

    `hashed` stands in for the hashing; only a listing may give one that remembers.
    """
    files = listed_files(model)
    for relative, path in files.items():
        check_content(path, relative)
    kind = weights_kind(files, model)
    return Manifest(
        v=VERSION,
        format=kind,
        files=hashed(files) if hashed else hash_files(files, advance),
        chat_template=_template(files) if kind == "safetensors" else UNSET,
        engine=engine,
    )


def listed_files(model: Path) -> dict[str, Path]:
    """The files that a manifest of this folder or GGUF file lists; raises `SetupError`."""
    if model.is_dir():
        return files_of(model)
    if not model.is_file():
        raise SetupError(f"there is no model at {model}")
    if kind_of(model.name) is not Kind.GGUF:
        raise SetupError(f"{model.name}: name a folder, or a GGUF file")
    return {model.name: model}


def weights_kind(files: dict[str, Path], model: Path) -> Literal["gguf", "safetensors"]:
    """The one format of a folder's weights; raises `SetupError`."""
    kinds = {kind_of(relative) for relative in files} & {Kind.GGUF, Kind.SAFETENSORS}
    if not kinds:
        raise SetupError(f"{model} holds no weights: neither safetensors nor GGUF")
    if len(kinds) > 1:
        raise SetupError(f"{model} holds safetensors and GGUF; keep one of them")
    return "gguf" if Kind.GGUF in kinds else "safetensors"


def _template(files: dict[str, Path]) -> str | UnsetType:
    """Digest of the chat template's text; of several ones that of their JSON."""
    for name in _TEMPLATE_FILES:
        if name in files:
            return hashlib.sha256(files[name].read_bytes()).hexdigest()
    path = files.get("tokenizer_config.json")
    settings = read_settings(path, path.name) if path is not None else {}
    template = settings.get("chat_template") if isinstance(settings, dict) else None
    if template is None:
        return UNSET
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write a manifest beside its files; raises `SetupError`."""
    target = folder / MANIFEST_FILE
    partial = target.with_name(f".{MANIFEST_FILE}.new")
    try:
        partial.write_bytes(canonical.encode(manifest))
        partial.replace(target)
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error.strerror}") from None
    return target


def read_manifest(file: Path) -> Manifest | None:
    """A manifest file; None where there is none. Raises `SetupError` for anything else there."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise SetupError(f"{file} is too long for a model manifest")
    try:
        return canonical.decode(data.rstrip(b"\n"), Manifest)
    except NotCanonical:
        raise SetupError(f"{file} is no model manifest") from None


def verify_model(model: Path, manifest: Manifest, advance: Advance = ignore) -> None:
    """Hold every byte of a model against its manifest; raises `SetupError` saying what differs."""
    found = build_manifest(model, engine=manifest.engine, advance=advance)
    wrong = differences(manifest.files, found.files)
    if not wrong and found != manifest:
        wrong = ["the manifest's format or chat template is not that of its files"]
    if wrong:
        more = f"; and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        raise SetupError(
            f"{model} is not what its manifest says: {'; '.join(wrong[:_MOST_TOLD])}{more}"
        )
