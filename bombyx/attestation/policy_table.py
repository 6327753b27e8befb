"""Reads a policy's tables key by key and names what is wrong with its dotted path (SPEC 17)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from bombyx.errors import PolicyError

MAX_ENTRIES = 4096
"""Entries of one list or table: policies are written by people and registries, not by attackers,
and a lookup stays cheap."""
MAX_COUNT = 2**53 - 1
MAX_KEY = 64
"""Characters of an unknown key that are compared with known ones: no key is as long."""
_MASK = re.compile(r"0x[0-9a-f]{1,16}")
_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")


class Table:
    """One table of a policy; every key must be taken before `finish`."""

    def __init__(self, source: Mapping[str, Any], path: str = "") -> None:
        self._source = source
        self._path = path
        self._asked: set[str] = set()

    def finish(self) -> None:
        """Refuse the keys that nobody took, naming the one that was meant, if that can be told."""
        for key in sorted(set(self._source) - self._asked, key=str):
            likely = get_close_matches(str(key)[:MAX_KEY], self._asked, n=1)
            meant = "".join(f"; did you mean {self._dotted(one)}?" for one in likely)
            raise PolicyError(f"policy: unknown key {self._dotted(key)}{meant}")

    def integer(self, key: str) -> int:
        """A required integer."""
        value = self._take(key)
        if type(value) is not int:
            raise PolicyError(f"policy: {self._dotted(key)} must be an integer")
        return value

    def count(self, key: str, default: int) -> int:
        """An integer of 0 to 2^53 - 1; absent is the default."""
        value = self._source.get(key, default)
        self._asked.add(key)
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            raise PolicyError(f"policy: {self._dotted(key)} must be an integer, not below 0")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean; absent is the default."""
        value = self._source.get(key, default)
        self._asked.add(key)
        if not isinstance(value, bool):
            raise PolicyError(f"policy: {self._dotted(key)} must be true or false")
        return value

    def bits(self, key: str, default: int) -> int:
        """A mask of up to 64 bits, written `0x…`; absent is the default."""
        value = self._source.get(key, f"{default:#x}")
        self._asked.add(key)
        if not isinstance(value, str) or not _MASK.fullmatch(value):
            raise PolicyError(f'policy: {self._dotted(key)} must be bits in hex, such as "0x10"')
        return int(value, 16)

    def texts(self, key: str, form: re.Pattern[str]) -> tuple[str, ...]:
        """A list of strings of a form, sorted; absent is empty."""
        items = self._list(key)
        for item in items:
            if not isinstance(item, str) or not form.fullmatch(item):
                raise PolicyError(f"policy: {self._dotted(key)} holds what cannot be in it")
        return _sorted(items)

    def listed(self, key: str, *sizes: int) -> tuple[str, ...] | None:
        """As `hexes`, for values of one of a few sizes; absent is None: nobody asks."""
        if not self.has(key):
            return None
        forms = "|".join(f"[0-9a-f]{{{2 * size}}}" for size in sizes)
        return self.texts(key, re.compile(forms))

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._asked.add(key)
        return key in self._source

    def text(self, key: str) -> str:
        """A required string."""
        value = self._take(key)
        if not isinstance(value, str):
            raise PolicyError(f"policy: {self._dotted(key)} must be a string")
        return value

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """A required string out of a few."""
        return self._one_of(key, self._take(key), allowed)

    def choices(self, key: str, allowed: Sequence[str]) -> tuple[str, ...]:
        """A list of strings out of a few, sorted; absent is empty."""
        return _sorted(self._one_of(key, item, allowed) for item in self._list(key))

    def hexes(self, key: str, size: int) -> tuple[str, ...]:
        """A list of digests of `size` bytes in lower-case hex, sorted; absent is empty."""
        pattern = re.compile(f"[0-9a-f]{{{2 * size}}}")
        items = self._list(key)
        for item in items:
            if not isinstance(item, str) or not pattern.fullmatch(item):
                raise PolicyError(
                    f"policy: {self._dotted(key)} must hold {size} bytes each, in lower-case hex"
                )
        return _sorted(items)

    def table(self, key: str) -> "Table":
        """A table within this one; absent is empty."""
        self._asked.add(key)
        value = self._source.get(key, {})
        if not isinstance(value, Mapping) or len(value) > MAX_ENTRIES:
            raise PolicyError(f"policy: {self._dotted(key)} must be a table")
        return Table(value, self._dotted(key))

    def names(self) -> list[str]:
        """The keys of a table of names, sorted."""
        for key in self._source:
            if not isinstance(key, str) or not _NAME.fullmatch(key):
                raise PolicyError(f"policy: {self._path} holds a name that no model can have")
        return sorted(self._source)

    def _take(self, key: str) -> Any:
        self._asked.add(key)
        if key not in self._source:
            raise PolicyError(f"policy: {self._dotted(key)} is missing")
        return self._source[key]

    def _list(self, key: str) -> list[Any]:
        self._asked.add(key)
        value = self._source.get(key, [])
        if not isinstance(value, list) or len(value) > MAX_ENTRIES:
            raise PolicyError(f"policy: {self._dotted(key)} must be a list")
        return value

    def _one_of(self, key: str, value: Any, allowed: Sequence[str]) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise PolicyError(f"policy: {self._dotted(key)} must be of {', '.join(allowed)}")
        return value

    def _dotted(self, key: object) -> str:
        return f"{self._path}.{key}" if self._path else str(key)


def _sorted(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(items)))
