"""A stand-in for torchvision: SGLang imports it for text models too, and never calls it there.

The real one does not load beside a CPU build of PyTorch. Every submodule imports, and every name
in it is a class that can be made but not called: what reads an image fails loudly.
"""

import enum
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence

__version__ = "0.0.0"


class InterpolationMode(enum.Enum):
    """Used as a default in signatures, so it must be a real enumeration."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class _Absent:
    """Stands for any class or function."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> object:
        raise NotImplementedError("torchvision is not installed here: text models only")


def _lookup(module: str, name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    if name == "InterpolationMode":
        return InterpolationMode
    return sys.modules.get(f"{module}.{name}") or type(name, (_Absent,), {})


class _Module(types.ModuleType):
    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> object:
        return _lookup(self.__name__, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self,
        fullname: str,
        path: object,  # noqa: ARG002 - the interface's
        target: object = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(__name__ + "."):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def __getattr__(name: str) -> object:
    return _lookup(__name__, name)


sys.meta_path.append(_Finder())
