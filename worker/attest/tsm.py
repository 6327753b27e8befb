"""Linux's configfs-tsm: one interface to the attestation hardware of TDX and SEV-SNP guests.

Of kernel 6.7 and later (Documentation/ABI/testing/configfs-tsm-report). A report is a directory:
made, given 64 bytes in one write, read, and removed. Whoever writes an option in between raises
the directory's `generation`, and the report would be another's: then it is asked for again.
"""

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bombyx.attestation.binding import REPORT_DATA_BYTES
from bombyx.errors import AttestationError

ROOT: Final = Path("/sys/kernel/config/tsm/report")
PROVIDERS: Final = {"tdx_guest": "tdx", "sev_guest": "sev-snp"}
"""The kernel's drivers, and the platforms that they stand for."""
MAX_BLOB_BYTES: Final = 256 * 1024
"""Quotes have about 5 KiB, AMD's certificates as much; the kernel allows for more."""
ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 0.05
_BUSY: Final = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT})
"""The host may throttle attestation, and the kernel tells so."""


@dataclass(frozen=True, slots=True)
class TsmReport:
    """What one request gave; `certificates` is the provider's auxiliary blob, mostly empty."""

    provider: str
    report: bytes
    certificates: bytes


class _Raced(Exception):
    """Raised when somebody else wrote to the directory, or the hardware is busy."""


def find_provider(root: Path = ROOT) -> str:
    """The driver behind the interface, such as `tdx_guest`.

    The folder alone proves nothing: the module loads on any machine, and only the making of a
    report's directory fails without a TEE. Raises `AttestationError` with the reason.
    """
    with _entry(root) as entry:
        return _text(entry / "provider")


def get_report(report_data: bytes, *, root: Path = ROOT) -> TsmReport:
    """A report over 64 bytes; blocks, mostly for some milliseconds. Raises `AttestationError`."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError("report data has 64 bytes")
    with _entry(root) as entry:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            with contextlib.suppress(_Raced):
                return _request(entry, report_data)
    raise AttestationError("configfs-tsm: others keep changing our report, or the host throttles")


@contextlib.contextmanager
def _entry(root: Path) -> Iterator[Path]:
    """A directory of our own for one report; the kernel fills it, and empties it at the end."""
    entry = root / f"bombyx-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        entry.mkdir()
    except FileNotFoundError:
        raise AttestationError(f"there is no configfs-tsm at {root}") from None
    except PermissionError:
        raise AttestationError(f"configfs-tsm at {root} may not be used by this user") from None
    except OSError as error:
        raise AttestationError(f"configfs-tsm has no TEE behind it: {error.strerror}") from None
    try:
        yield entry
    except OSError as error:
        raise AttestationError(f"configfs-tsm failed: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            entry.rmdir()


def _request(entry: Path, report_data: bytes) -> TsmReport:
    """One attempt: count what we write, and compare with what the kernel counted."""
    expected = _generation(entry)
    provider = _text(entry / "provider")
    floor = _privilege_floor(entry, provider)
    if floor:
        _write(entry / "privlevel", str(floor).encode())
        expected += 1
    _write(entry / "inblob", report_data)
    expected += 1
    report = _read(entry / "outblob")
    certificates = _read(entry / "auxblob") if (entry / "auxblob").exists() else b""
    if _generation(entry) != expected:
        raise _Raced
    if not report:
        raise AttestationError("configfs-tsm gave an empty report")
    return TsmReport(provider, report, certificates)


def _privilege_floor(entry: Path, provider: str) -> int:
    """The least VMPL that an SEV-SNP guest may ask for: not 0 where an SVSM runs below it."""
    path = entry / "privlevel_floor"
    if provider != "sev_guest" or not path.exists():
        return 0
    return _number(path)


def _generation(entry: Path) -> int:
    return _number(entry / "generation")


def _number(path: Path) -> int:
    text = _text(path)
    if not text.isascii() or not text.isdigit():
        raise AttestationError(f"configfs-tsm: {path.name} is no number")
    return int(text)


def _text(path: Path) -> str:
    return _read(path).decode("ascii", "replace").strip()


def _write(path: Path, data: bytes) -> None:
    # One write(2): a second one would be a second request.
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.write(file, data) != len(data):
            raise AttestationError(f"configfs-tsm took only a part of {path.name}")
    except OSError as error:
        raise _busy(error) from None
    finally:
        os.close(file)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            data = b""
            while piece := file.read(MAX_BLOB_BYTES + 1 - len(data)):
                data += piece
    except OSError as error:
        raise _busy(error) from None
    if len(data) > MAX_BLOB_BYTES:
        raise AttestationError(f"configfs-tsm: {path.name} is longer than a quote can be")
    return data


def _busy(error: OSError) -> Exception:
    return _Raced() if error.errno in _BUSY else error
