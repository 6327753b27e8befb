"""What a model is, file by file: the document whose digest is `weights` in keysets (SPEC 1.8).

Two folders with the same manifest give the same model. A manifest may also bind the engine that
the model is meant for; what a worker really runs is the keyset's `engine`.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.units import Count, Hex32

VERSION: Final = "bombyx-model/1"
MANIFEST_FILE: Final = "bombyx-manifest.json"
"""Its name where it is kept, beside the files."""
MAX_FILES = 4096
"""The largest open models have some two hundred shards."""
_MAX_FLAGS = 64

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=/ -]{0,255}")
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9._+-]+\Z")]
_FlagName = Annotated[str, Meta(max_length=64, pattern=r"\A[a-z0-9_]+\Z")]
_FlagValue = Annotated[str, Meta(max_length=256)]


def is_path(text: str) -> bool:
    """Whether a file of a model may be called so: relative, with slashes, and no way out."""
    parts = text.split("/")
    return _PATH.fullmatch(text) is not None and not {"", ".", ".."} & set(parts)


class ManifestFile(Document, frozen=True):
    """One file: where it lies in the folder, its bytes, its hex SHA-256."""

    path: str
    size: Count
    sha256: Hex32

    def __post_init__(self) -> None:
        """Raises `ValueError` for a path that could lead out of the folder."""
        super().__post_init__()
        if not is_path(self.path):
            raise ValueError("a manifest's path is not relative, or odd")


class ManifestEngine(Document, frozen=True):
    """The engine that a model is meant for; an absent version is any."""

    name: Word
    version: Word | UnsetType = UNSET
    flags: Annotated[dict[_FlagName, _FlagValue], Meta(max_length=_MAX_FLAGS)] | UnsetType = UNSET


class Manifest(Document, frozen=True):
    """Every file that influences a model's output, by path; `chat_template` is a text's SHA-256.

    A GGUF holds its template inside, so that only safetensors have the field.
    """

    v: Literal["bombyx-model/1"]
    format: Literal["gguf", "safetensors"]
    files: Annotated[list[ManifestFile], Meta(min_length=1, max_length=MAX_FILES)]
    chat_template: Hex32 | UnsetType = UNSET
    engine: ManifestEngine | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raises `ValueError` unless the files are in order and each is listed once."""
        super().__post_init__()
        if any(one.path >= other.path for one, other in pairwise(self.files)):
            raise ValueError("a manifest's files are not in order")

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def manifest_digest(manifest: Manifest) -> str:
    """What names the model in keysets and receipts: hex SHA-256 of the canonical document."""
    return canonical.digest(manifest).hex()


def lone_gguf(name: str, *, size: int, sha256: str) -> Manifest:
    """The manifest of a model that is one GGUF file; raises `ValueError` for an odd name."""
    file = ManifestFile(path=name, size=size, sha256=sha256)
    return Manifest(v=VERSION, format="gguf", files=[file])


def differences(listed: Sequence[ManifestFile], found: Sequence[ManifestFile]) -> list[str]:
    """Where files are not what a manifest lists, a sentence each; empty when they are."""
    wanted = {file.path: file for file in listed}
    here = {file.path: file for file in found}
    told = [f"{path}: is not in the manifest" for path in sorted(here.keys() - wanted.keys())]
    told += [f"{path}: is missing" for path in sorted(wanted.keys() - here.keys())]
    for path in sorted(wanted.keys() & here.keys()):
        want, have = wanted[path], here[path]
        if want.size != have.size:
            told.append(f"{path}: has {have.size} bytes, the manifest says {want.size}")
        elif want.sha256 != have.sha256:
            told.append(f"{path}: has another SHA-256 than the manifest says")
    return told
