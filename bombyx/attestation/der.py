"""Distinguished encoding, as much as certificates need, one spelling only (ITU-T X.690).

AMD's endorsement keys have certificates with the serial number 0, which the X.509 library warns of
and will refuse; their few fields are read here instead. Pure, and bounded by its input.
"""

from collections.abc import Iterator

INTEGER, BITS, OCTETS, OID = 0x02, 0x03, 0x04, 0x06
SEQUENCE, SET = 0x30, 0x31
_LONG = 0x80
_MAX_LENGTH_BYTES = 3
"""Lengths of up to 16 MiB: certificates have a few KiB."""
Item = tuple[int, bytes, bytes]
"""Tag, contents, and the whole encoding."""


def read(data: bytes, at: int = 0) -> tuple[Item, int]:
    """The item at an offset, and where the next one starts; raises `ValueError`."""
    try:
        tag, first = data[at], data[at + 1]
    except IndexError:
        raise ValueError("DER breaks off") from None
    start = at + 2
    length = first
    if first >= _LONG:
        count = first - _LONG
        length = int.from_bytes(data[start : start + count], "big")
        if not 0 < count <= _MAX_LENGTH_BYTES or length < max(_LONG, 1 << (8 * (count - 1))):
            raise ValueError("a length of DER is not in its shortest form")
        start += count
    end = start + length
    if end > len(data):
        raise ValueError("DER breaks off")
    return (tag, data[start:end], data[at:end]), end


def items(contents: bytes) -> Iterator[Item]:
    """The items that a sequence's contents consist of; raises `ValueError`."""
    at = 0
    while at < len(contents):
        item, at = read(contents, at)
        yield item


def children(data: bytes, tag: int, count: int | None = None) -> list[Item]:
    """The items of exactly one constructed item, `count` of them if given."""
    item, end = read(data)
    if item[0] != tag or end != len(data):
        raise ValueError("DER is of another form than expected")
    found = list(items(item[1]))
    if count is not None and len(found) != count:
        raise ValueError("DER has another number of parts than expected")
    return found


def small_integer(data: bytes) -> int:
    """An INTEGER of 0 to 255 in its one spelling; raises `ValueError`."""
    item, end = read(data)
    tag, contents, _ = item
    value = int.from_bytes(contents, "big")
    if tag != INTEGER or end != len(data) or value > 0xFF or contents != _spelled(value):  # noqa: PLR2004
        raise ValueError("no small integer in DER")
    return value


def _spelled(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def bits(item: Item) -> bytes:
    """The whole bytes of a BIT STRING; raises `ValueError`."""
    tag, contents, _ = item
    if tag != BITS or contents[:1] != b"\0":
        raise ValueError("no bit string of whole bytes in DER")
    return contents[1:]


def oid_text(item: Item) -> str:
    """An object identifier with dots; raises `ValueError`."""
    tag, contents, _ = item
    parts: list[int] = []
    value = 0
    for byte in contents:
        value = value << 7 | byte & 0x7F
        if byte < _LONG:
            parts.append(value)
            value = 0
    if tag != OID or not parts or contents[-1] >= _LONG:
        raise ValueError("an object identifier breaks off")
    first = min(parts[0] // 40, 2)
    return ".".join(map(str, (first, parts[0] - 40 * first, *parts[1:])))
