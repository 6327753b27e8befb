"""What any worker's machine needs: Python, disk, memory, the right time, a gateway.

Each check takes what was measured, and judges; only the functions at the end look.
"""

import contextlib
import shutil
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from worker.doctor.check import Check, failed, passed, unknown

LEAST_PYTHON = (3, 11)
LEAST_DISK_BYTES = 2 * 2**30
"""For journal and logs; models come on top."""
LEAST_MEMORY_BYTES = 2 * 2**30
MOST_SKEW_SECONDS = 60
"""Requests are refused at 300; a clock that is a minute off drifts."""
_GIB = 2**30
_TIMEOUT_SECONDS = 10.0
_OK = 200


def check_python(version: tuple[int, int, int]) -> Check:
    """This interpreter."""
    shown = ".".join(str(part) for part in version)
    if version[:2] >= LEAST_PYTHON:
        return passed("python", f"Python {shown}")
    fix = "install Python 3.11 or later, and bombyx into an environment of it"
    return failed("python", f"Python {shown} is too old", fix=fix)


def check_disk(free: int, where: Path) -> Check:
    """Room where state and models lie."""
    shown = f"{free / _GIB:.0f} GiB free at {where}"
    if free >= LEAST_DISK_BYTES:
        return passed("disk", shown)
    return failed("disk", f"only {shown}", fix="free some disk, or move --state and --models")


def check_memory(available: int | None) -> Check:
    """Memory that is not in use."""
    if available is None:
        return unknown("memory", "this system does not tell its memory")
    shown = f"{available / _GIB:.0f} GiB of memory available"
    if available >= LEAST_MEMORY_BYTES:
        return passed("memory", shown)
    return failed("memory", f"only {shown}", fix="stop other programs, or add memory")


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """What a gateway said; `date` in unix seconds, `refusal` where it did not answer."""

    url: str
    date: float | None = None
    status: int = 0
    refusal: str = ""


def check_gateway(answer: GatewayAnswer | None) -> Check:
    """Whether a gateway can be reached and takes requests."""
    if answer is None:
        return unknown("gateway", "no gateway was named", fix="bombyx doctor --gateway URL")
    if answer.refusal:
        fix = "check the URL, DNS, the firewall and HTTPS_PROXY"
        return failed("gateway", f"{answer.url} cannot be reached ({answer.refusal})", fix=fix)
    if answer.status != _OK:
        detail = f"{answer.url} answers, and is not ready ({answer.status})"
        return failed("gateway", detail, fix="ask its operator, or wait")
    return passed("gateway", f"{answer.url} answers and is ready")


def check_time(answer: GatewayAnswer | None, now: float) -> Check:
    """This machine's clock against a gateway's; both in unix seconds."""
    if answer is None or answer.date is None:
        return unknown("time", "no gateway told the time to compare with")
    skew = now - answer.date
    if abs(skew) <= MOST_SKEW_SECONDS:
        return passed("time", "the clock agrees with the gateway's")
    way = "ahead of" if skew > 0 else "behind"
    fix = "timedatectl set-ntp true"
    return failed("time", f"the clock is {abs(skew):.0f} s {way} the gateway's", fix=fix)


def free_disk(folder: Path) -> tuple[int, Path]:
    """Bytes free where this folder is or would be."""
    place = next(one for one in (folder, *folder.parents) if one.exists())
    return shutil.disk_usage(place).free, place


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes; None where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def ask_gateway(url: str) -> GatewayAnswer:
    """One question to its readiness; never raises."""
    origin = url.rstrip("/").removesuffix("/v1")
    try:
        answer = httpx2.get(f"{origin}/readyz", timeout=_TIMEOUT_SECONDS)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return GatewayAnswer(origin, refusal=type(error).__name__)
    return GatewayAnswer(origin, _date(answer.headers.get("date", "")), answer.status_code)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError):
        return None
