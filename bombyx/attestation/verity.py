"""The root hash of a file system under dm-verity, and where a kernel names it (SPEC 17.9).

A kernel that was measured with `roothash=` on its command line reads nothing else: with the root
the whole image, and a model in one of its own, are measured.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

BLOCK_BYTES: Final = 4096
MAX_SALT_BYTES = 256
_DIGEST_BYTES = 32
_PER_BLOCK = BLOCK_BYTES // _DIGEST_BYTES
_NAMED = re.compile(r"(?:^| )(?:roothash|systemd\.verity_root_hash)=(\S*)(?= |$)")
_HEX = re.compile(r"[0-9a-f]{64}")


def verity_root(blocks: Iterable[bytes], *, salt: bytes) -> bytes:
    """32 bytes of an image's root (format 1, SHA-256, blocks of 4096 bytes).

    Raises `ValueError` for an image of no or uneven blocks, and for a salt beyond 256 bytes.
    """
    if len(salt) > MAX_SALT_BYTES:
        raise ValueError("a salt of dm-verity has at most 256 bytes")
    tree = _Tree(salt)
    for block in blocks:
        tree.add(0, _digest(salt, block))
    return tree.root()


class _Tree:
    """Hashes of one block at most for each level: an image is larger than memory."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._open: list[list[bytes]] = []
        self._counts: list[int] = []

    def add(self, level: int, digest: bytes) -> None:
        """The next digest of a level, counted from the data's."""
        if level == len(self._open):
            self._open.append([])
            self._counts.append(0)
        self._open[level].append(digest)
        self._counts[level] += 1
        if len(self._open[level]) == _PER_BLOCK:
            self._close(level)

    def root(self) -> bytes:
        """The only digest of the first level that has one alone."""
        level = 0
        while level < len(self._open):
            if self._counts[level] == 1:
                return self._open[level][0]
            if self._open[level]:
                self._close(level)
            level += 1
        raise ValueError("an image has at least one block")

    def _close(self, level: int) -> None:
        block = b"".join(self._open[level]).ljust(BLOCK_BYTES, b"\0")
        self._open[level] = []
        self.add(level + 1, _digest(self._salt, block))


def _digest(salt: bytes, block: bytes) -> bytes:
    if len(block) != BLOCK_BYTES:
        raise ValueError("an image consists of blocks of 4096 bytes")
    return hashlib.sha256(salt + block).digest()


def named_root(command_line: str) -> bytes | None:
    """The root hash that a kernel's command line names; None without exactly one."""
    found = _NAMED.findall(command_line)
    if len(found) != 1 or not _HEX.fullmatch(found[0]):
        return None
    return bytes.fromhex(found[0])
