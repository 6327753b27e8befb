"""The metadata at the head of a GGUF file: what its tokenizer is, without loading the model.

Written against hostile files: each length is checked before it is followed.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bombyx.errors import SetupError

MAX_ENTRIES: Final = 100_000
MAX_TEXT_BYTES: Final = 64 * 2**20
"""A character map of SentencePiece has some 250 KiB."""
_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class GgufHead:
    """Single values by key, and the lengths of arrays, which are skipped."""

    values: Mapping[str, Value]
    lengths: Mapping[str, int]

    def text(self, key: str) -> str:
        """A text, empty where the file has none."""
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""


def read_head(path: Path) -> GgufHead:
    """The metadata of a GGUF file; raises `SetupError` for any other."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _Reader(data).head()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, struct.error):  # an empty file cannot be mapped
        raise SetupError(f"{path.name}: is no GGUF file, or a torn one") from None


class _Reader:
    """Raises `ValueError` or `struct.error` for what is no GGUF."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def head(self) -> GgufHead:
        if self._take(4) != _MAGIC or self._number("<I") not in _VERSIONS:
            raise ValueError("not GGUF")
        self._number("<Q")  # tensors
        values: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(self._count(MAX_ENTRIES)):
            key, kind = self._text(), self._number("<I")
            if kind == _ARRAY:
                lengths[key] = self._skip_array()
            else:
                values[key] = self._value(int(kind))
        return GgufHead(values, lengths)

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._text()
        if kind not in _SCALARS:
            raise ValueError("unknown type")
        return self._number(_SCALARS[kind])

    def _skip_array(self) -> int:
        kind, count = int(self._number("<I")), self._count(len(self._data))
        if kind == _STRING:
            for _ in range(count):
                self._take(self._count(MAX_TEXT_BYTES))
        elif kind in _SCALARS:
            self._take(count * struct.calcsize(_SCALARS[kind]))
        else:
            raise ValueError("arrays of arrays have no use here")
        return count

    def _text(self) -> str:
        return self._take(self._count(MAX_TEXT_BYTES)).decode("utf-8", errors="replace")

    def _count(self, most: int) -> int:
        count = int(self._number("<Q"))
        if count > most:
            raise ValueError("too long")
        return count

    def _number(self, form: str) -> int | float:
        value: int | float = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return value

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError("torn")
        piece, self._at = self._data[self._at : end], end
        return piece
