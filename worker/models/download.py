"""One file from a hub: goes on where it stopped, and is worth nothing until its hash is right."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from bombyx.errors import SetupError
from worker.models.hashing import Advance
from worker.models.hub import RemoteFile

ATTEMPTS = 6
"""In a row without a byte between them."""
_FIRST_PAUSE_SECONDS = 0.5
_OK, _PARTIAL, _BEYOND = 200, 206, 416
_SERVER_ERROR = 500

Sleep = Callable[[float], None]


class _Interrupted(Exception):
    """The transfer broke, and may be taken up again."""


def fetch(
    client: httpx2.Client,
    url: str,
    target: Path,
    *,
    wanted: RemoteFile,
    advance: Advance,
    sleep: Sleep = time.sleep,
) -> None:
    """Fetch a file unless it is there whole; raises `SetupError`.

    What came before a break stays in `target.part`; `advance` hears of every byte once, also of
    those that were there already.
    """
    if is_right(target, wanted):
        advance(wanted.size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if part.exists():
        advance(min(part.stat().st_size, wanted.size))
    _fetch_all(client, url, part, wanted=wanted, advance=advance, sleep=sleep)
    if not is_right(part, wanted):
        part.unlink()
        raise SetupError(f"{wanted.path}: has another hash than the hub's listing says")
    part.replace(target)


def _fetch_all(
    client: httpx2.Client,
    url: str,
    part: Path,
    *,
    wanted: RemoteFile,
    advance: Advance,
    sleep: Sleep,
) -> None:
    failures = 0
    while (have := part.stat().st_size if part.exists() else 0) < wanted.size or not part.exists():
        try:
            _go_on(client, url, part, wanted=wanted, advance=advance)
        except (httpx2.HTTPError, _Interrupted) as error:
            failures = failures + 1 if _size(part) <= have else 1
            if failures >= ATTEMPTS:
                kind = type(error).__name__.lstrip("_")
                raise SetupError(
                    f"{wanted.path}: the transfer breaks again and again ({kind}); "
                    "the same command goes on from here"
                ) from None
            sleep(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _go_on(
    client: httpx2.Client, url: str, part: Path, *, wanted: RemoteFile, advance: Advance
) -> None:
    have = _size(part)
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as answer:
        status = answer.status_code
        if status >= _SERVER_ERROR:
            raise _Interrupted
        if have and status in (_OK, _BEYOND):  # it starts over, or the file is another by now
            advance(-min(have, wanted.size))
            part.unlink()
            have = 0
        if status == _BEYOND:
            raise _Interrupted
        if status not in (_OK, _PARTIAL):
            raise SetupError(f"{wanted.path}: the hub answered {status}")
        if status == _PARTIAL and not _continues(answer, have):
            raise SetupError(f"{wanted.path}: the hub sent another part than it was asked for")
        _append(answer, part, left=wanted.size - have, advance=advance)


def _continues(answer: httpx2.Response, have: int) -> bool:
    return answer.headers.get("content-range", "").startswith(f"bytes {have}-")


def _append(answer: httpx2.Response, part: Path, *, left: int, advance: Advance) -> None:
    with part.open("ab") as file:
        # As it comes: what is gathered into larger pieces is lost when the transfer breaks.
        for piece in answer.iter_raw():
            if len(piece) > left:
                raise SetupError(f"{part.stem}: is longer than the hub's listing says")
            file.write(piece)
            left -= len(piece)
            advance(len(piece))
    if left:
        raise _Interrupted


def is_right(path: Path, wanted: RemoteFile) -> bool:
    """Whether a file is there with the size and hash that the listing names."""
    try:
        if path.stat().st_size != wanted.size:
            return False
        if wanted.sha256:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
        data = path.read_bytes()
    except OSError:
        return False
    # Git's name for a blob; the commit is made of the same, so that nothing stronger is at hand.
    named = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return named.hexdigest() == wanted.blob
