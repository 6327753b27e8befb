"""Arguments of requests, from query strings and JSON bodies alike; errors name the argument."""

from base64 import b64decode
from typing import Any

from pytoniq_core import Address, Cell

from ton.codec.cells import parse_address, raw
from ton.devnet.bocs import decode_boc
from ton.devnet.errors import BadArgument
from ton.errors import MalformedCell

HASH_BYTES = 32
MAX_LIMIT = 1000
"""Rows of one answer, as at toncenter."""
MAX_LISTED = 1024
"""Addresses in one question."""
MAX_INT = 2**63 - 1


class Arguments:
    """What a request asks with: a value, or a list of values for a repeated name."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether it was given, and not as null or nothing."""
        return self._values.get(name) not in (None, "", [])

    def any(self, name: str) -> Any:
        """As it came; raises `BadArgument` where it is missing."""
        if not self.has(name):
            raise BadArgument(f"{name}: field required")
        return self._values[name]

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        if default is not None and not self.has(name):
            return default
        value = self.any(name)
        value = value[0] if isinstance(value, list) else value
        if not isinstance(value, str):
            raise BadArgument(f"{name}: must be a string")
        return value

    def number(
        self, name: str, default: int | None = None, *, low: int = 0, high: int = MAX_INT
    ) -> int:
        """A whole number, also as a string."""
        if default is not None and not self.has(name):
            return default
        value = self.any(name)
        value = value[0] if isinstance(value, list) else value
        number = whole(value)
        if number is None:
            raise BadArgument(f"{name}: must be a whole number")
        if not low <= number <= high:
            raise BadArgument(f"{name}: must be {low} to {high}")
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        """A truth value."""
        value = self._values.get(name, default)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, str) and value.lower() in {"true", "1", "false", "0"}:
            return value.lower() in {"true", "1"}
        if not isinstance(value, bool):
            raise BadArgument(f"{name}: must be true or false")
        return value

    def words(self, name: str) -> list[str]:
        """A repeated string: `a=1&a=2`, or `a=1,2`, or an array."""
        value = self._values.get(name) or []
        value = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in value):
            raise BadArgument(f"{name}: must be strings")
        words = [word for one in value for word in one.split(",") if word]
        if len(words) > MAX_LISTED:
            raise BadArgument(f"{name}: at most {MAX_LISTED}")
        return words

    def address(self, name: str = "address") -> Address:
        """An address in any form."""
        return _address(name, self.text(name))

    def places(self, name: str) -> list[str]:
        """Repeated addresses as `workchain:hex`."""
        return [raw(_address(name, word)) for word in self.words(name)]

    def hash(self, name: str) -> bytes:
        """A hash in hex or base64."""
        return _hash(name, self.text(name))

    def boc(self, name: str = "boc") -> Cell:
        """A bag of cells in base64."""
        try:
            return decode_boc(self.text(name))
        except BadArgument as cause:
            raise BadArgument(f"{name}: {cause.message}") from None

    def window(self) -> tuple[int, int]:
        """`limit` and `offset`."""
        limit = self.number("limit", 10, low=1, high=MAX_LIMIT)
        return limit, self.number("offset", 0)


def whole(value: Any) -> int | None:
    """A number in JSON: itself, or as a string in decimal or with 0x; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int):
        return value
    try:
        return int(value, 16 if value.lower().lstrip("-").startswith("0x") else 10)
    except ValueError:
        return None


def _address(name: str, text: str) -> Address:
    try:
        return parse_address(text)
    except MalformedCell:
        raise BadArgument(f"{name}: this is no address") from None


def _hash(name: str, text: str) -> bytes:
    try:
        if len(text) == 2 * HASH_BYTES:
            return bytes.fromhex(text)
        data = b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        data = b""
    if len(data) != HASH_BYTES:
        raise BadArgument(f"{name}: must be 32 bytes in hex or base64")
    return data
