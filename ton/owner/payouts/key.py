"""The owner's key in payout channels: it could end one by consent, and does nothing else."""

import os
import secrets
from pathlib import Path
from typing import Final

from bombyx.errors import SetupError
from bombyx.files.durable import write_new

SEED_BYTES: Final = 32
_OTHERS: Final = 0o077


def payout_seed(path: Path) -> bytes:
    """The seed in a file as hex, made when there is none; raises `SetupError`."""
    try:
        if not os.path.lexists(path):
            write_new(path, f"{secrets.token_bytes(SEED_BYTES).hex()}\n".encode())
        if path.is_symlink() or path.stat().st_mode & _OTHERS:
            raise SetupError(f"{path} must be a file that only its owner reads: chmod 600 it")
        seed = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot use the owner's key {path}: {error}") from None
    if len(seed) != SEED_BYTES:
        raise SetupError(f"{path} holds no key of {SEED_BYTES} bytes")
    return seed
