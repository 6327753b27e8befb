"""What a file in a model's folder is, by its name: listed, ignored or refused (SPEC 1.8).

Deny by default: a name that nobody knows is refused, since an engine may read it.
"""

import re
from enum import Enum
from pathlib import PurePosixPath
from typing import Final

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE

SOURCE_FILE: Final = "bombyx-source.json"
OWN_FILES: Final = frozenset({MANIFEST_FILE, SOURCE_FILE})
"""Written by us beside a model; engines do not know them."""

PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
CODE: Final = frozenset({".py", ".pyc", ".so", ".ipynb"})
_DATA: Final = frozenset({".json", ".jinja", ".txt", ".model", ".tiktoken", ".spm"})
"""Settings, vocabularies and templates: all of them are listed, whoever reads them."""
_PAPER: Final = re.compile(r"(?:readme|licen[cs]e|notice|use_policy)(?:[._-].*)?", re.IGNORECASE)


class Kind(Enum):
    """What a file is to a manifest."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    DATA = "data"
    PAPER = "paper"
    """For people; no engine opens it, and no manifest lists it."""
    PICKLE = "pickle"
    CODE = "code"
    UNKNOWN = "unknown"


def kind_of(path: str) -> Kind:
    """What a file is, by its path relative to the folder."""
    name = PurePosixPath(path)
    if name.name == ".gitattributes" or _PAPER.fullmatch(name.name):
        return Kind.PAPER
    suffix = name.suffix.lower()
    if suffix in PICKLES:
        return Kind.PICKLE
    if suffix in CODE:
        return Kind.CODE
    if suffix in _DATA:
        return Kind.DATA
    return {".safetensors": Kind.SAFETENSORS, ".gguf": Kind.GGUF}.get(suffix, Kind.UNKNOWN)


def check_kind(path: str) -> Kind:
    """The kind of a file that may lie in a model's folder; raises `SetupError` for any other."""
    kind = kind_of(path)
    if kind is Kind.PICKLE:
        raise SetupError(
            f"{path}: is a pickle, which runs code when it is loaded; "
            "only safetensors and GGUF are served"
        )
    if kind is Kind.CODE:
        raise SetupError(f"{path}: is code; a model that brings its own program is not served")
    if kind is Kind.UNKNOWN:
        raise SetupError(f"{path}: is no file that a model is made of; remove it")
    return kind
