"""Looking for a text in all that a process holds or leaves behind, in the usual disguises."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_PIECE = 16 * 2**20
_OVERLAP = 1024
"""Longer than any pattern: none may hide where two pieces meet."""
_BASE64_BITS = 6


def disguises(text: str) -> dict[str, bytes]:
    """The text as programs write it down; each name says how."""
    raw = text.encode()
    found = {
        "utf-8": raw,
        "utf-16": text.encode("utf-16-le"),
        "utf-32": text.encode("utf-32-le"),
        "json escapes": "".join(f"\\u{ord(character):04x}" for character in text).encode(),
        "hex": raw.hex().encode(),
        "upper-case hex": raw.hex().upper().encode(),
    }
    for offset in range(3):
        encoded = _base64_inner(raw, offset)
        found[f"base64 at {offset}"] = encoded
        found[f"url-safe base64 at {offset}"] = encoded.translate(bytes.maketrans(b"+/", b"-_"))
    return found


def _base64_inner(raw: bytes, offset: int) -> bytes:
    """What is the same wherever the text stands in a longer one."""
    encoded = base64.b64encode(b"\0" * offset + raw)
    first = -(-offset * 8 // _BASE64_BITS)
    return encoded[first : (offset + len(raw)) * 8 // _BASE64_BITS]


def patterns(texts: Mapping[str, str]) -> dict[str, bytes]:
    """All disguises of all texts, by name; none twice."""
    named = {
        f"{name} as {how}": pattern
        for name, text in texts.items()
        for how, pattern in disguises(text).items()
    }
    return {name: pattern for pattern, name in {p: n for n, p in named.items()}.items()}


def in_memory(pid: int, wanted: Mapping[str, bytes]) -> set[str]:
    """Which patterns stand in the memory of a process: all maps that can be read."""
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in _readable_maps(pid):
            for at in range(start, end, _PIECE):
                try:
                    memory.seek(at)
                    data = memory.read(min(_PIECE + _OVERLAP, end - at))
                except (OSError, OverflowError, ValueError):
                    break  # the kernel's own pages, or unmapped meanwhile
                found |= _among(data, wanted, found)
    return found


def _readable_maps(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *_ = line.split(maxsplit=5)
        if rights.startswith("r"):
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)


def in_files(folders: Iterable[Path], wanted: Mapping[str, bytes]) -> set[str]:
    """Which patterns stand in the files below, each named with its file; file names count too."""
    found: set[str] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            data = str(path).encode()
            if path.is_file():
                data += b"\n" + path.read_bytes()
            found |= {f"{name} in {path.name}" for name in _among(data, wanted, set())}
    return found


def in_text(data: bytes, wanted: Mapping[str, bytes]) -> set[str]:
    """Which patterns stand in the data."""
    return _among(data, wanted, set())


def _among(data: bytes, wanted: Mapping[str, bytes], known: set[str]) -> set[str]:
    return {name for name, pattern in wanted.items() if name not in known and pattern in data}
