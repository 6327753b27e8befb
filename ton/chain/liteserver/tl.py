"""TL, as far as liteservers speak it: little-endian numbers, hashes, padded byte strings."""

from typing import Final, Self

from ton.chain.reading import Nonsense

_SHORT: Final = 254
"""A byte string this long has a length of one byte no more."""
_WORD: Final = 4


def pack_bytes(data: bytes) -> bytes:
    """A byte string with its length, padded to whole words."""
    if len(data) < _SHORT:
        packed = bytes([len(data)]) + data
    else:
        packed = bytes([_SHORT]) + len(data).to_bytes(3, "little") + data
    return packed + bytes(-len(packed) % _WORD)


def pack_int(value: int, size: int = 4) -> bytes:
    """A number in two's complement."""
    return value.to_bytes(size, "little", signed=True)


class Record:
    """A TL value that is read to its end; every method raises `Nonsense`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def tag(self, constructor: bytes) -> Self:
        """Demand that this constructor comes next."""
        if self._take(_WORD) != constructor:
            raise Nonsense("answers something else than was asked")
        return self

    def number(self, size: int = 4) -> int:
        """A signed number."""
        return int.from_bytes(self._take(size), "little", signed=True)

    def digest(self) -> bytes:
        """256 bits."""
        return self._take(32)

    def octets(self) -> bytes:
        """A byte string."""
        length, head = self._take(1)[0], 1
        if length > _SHORT:
            raise Nonsense("answers with a byte string of an impossible length")
        if length == _SHORT:
            length, head = int.from_bytes(self._take(3), "little"), 4
        data = self._take(length)
        self._take(-(head + length) % _WORD)
        return data

    def end(self) -> None:
        """Demand that nothing is left."""
        if self._at != len(self._data):
            raise Nonsense("answers more than was asked")

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise Nonsense("answers less than was asked")
        self._at += size
        return taken
