"""A file of vendors' documents on disk, as gateways and workers offline read it (SPEC 17.10)."""

from pathlib import Path
from typing import Final

from bombyx.attestation.vendor import VendorFile, read_file
from bombyx.errors import NotCanonical, SetupError

MAX_FILE_BYTES: Final = 64 * 2**20
"""20 000 documents of 3 KiB."""


def read_collateral_file(path: Path) -> VendorFile:
    """What `bombyx collateral export` wrote; raises `SetupError` naming the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SetupError(f"{path}: is longer than a file of collateral")
    try:
        return read_file(data)
    except (NotCanonical, ValueError) as error:
        raise SetupError(f"{path}: is no file of collateral: {error}") from None
