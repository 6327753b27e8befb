"""Looks: at state folders of this machine, and at the gateways that their workers serve."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from bombyx import canonical
from bombyx.canonical import Document
from bombyx.control.asking import give
from bombyx.control.document import LAST_WORDS, LastWords, WorkerDocument, read_document
from bombyx.control.starting import is_starting
from bombyx.control.wire import Order
from bombyx.errors import LinkError, NotCanonical, SetupError
from bombyx.link.standing import MAX_MODELS, MAX_STANDING_BYTES, WorkerStanding, parse_standing
from bombyx.money.channel.payout_documents import PAYOUTS_FILE, SEEN_FILE, PayoutFile, SeenFile
from ton.owner.folders import folders
from ton.owner.status.sight import Sight

Read = TypeVar("Read", bound=Document)

GPU_STATUS = "gpu-status.json"
ASK_SECONDS = 5.0
MAX_FILE_BYTES = 2**20
MOST_AT_ONCE = 8
NOBODY = "0" * 64
"""Asks for prices before there is a worker."""
_NO_GATEWAY = "{} is no gateway: https://HOST or wss://HOST/…"
_NOT_FOUND = 404
_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_MODEL = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")


def look(
    named: Sequence[Path], gateways: Sequence[str], *, models: Sequence[str], now: Callable[[], int]
) -> list[Sight]:
    """All of them, at once; `gateways` in place of those that each worker names."""
    found = folders(named)
    with (
        httpx2.Client(timeout=ASK_SECONDS, follow_redirects=False) as http,
        ThreadPoolExecutor(MOST_AT_ONCE) as pool,
    ):
        return list(
            pool.map(lambda one: _look(one, gateways, http=http, models=models, at=now()), found)
        )


def origin(url: str) -> str:
    """What HTTP is asked at, of a gateway as its owner typed it: also a link's own URL.

    Raises `SetupError`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # of brackets
        raise SetupError(_NO_GATEWAY.format(url)) from None
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise SetupError(_NO_GATEWAY.format(url))
    path = "" if parts.scheme.startswith("ws") else parts.path.rstrip("/").removesuffix("/v1")
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{path}"


def _look(
    folder: Path, gateways: Sequence[str], *, http: httpx2.Client, models: Sequence[str], at: int
) -> Sight:
    document, silence = None, ""
    try:
        document = read_document(give(folder, Order("status")))
    except SetupError as error:
        silence = error.message
    return Sight(
        state=str(folder),
        at=at,
        document=document,
        silence=silence,
        starts=document is None and is_starting(folder),
        last_words=None if document else _last_words(folder),
        gpu=_gpu(folder),
        payouts=_signed(folder / PAYOUTS_FILE, PayoutFile),
        seen=_signed(folder / SEEN_FILE, SeenFile),
        standings=_standings(document, gateways, http=http, models=models),
    )


def _standings(
    document: WorkerDocument | None,
    gateways: Sequence[str],
    *,
    http: httpx2.Client,
    models: Sequence[str],
) -> dict[str, WorkerStanding | str]:
    named = gateways or (document.origins if document else ())
    worker, served = (document.worker, document.models) if document else (NOBODY, list(models))
    wanted = [one for one in served if _MODEL.fullmatch(one)][:MAX_MODELS]
    return {one: _standing(http, one, worker, wanted) for one in _origins(named)}


def _origins(urls: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(origin, urls)))


def _standing(
    http: httpx2.Client, base: str, worker: str, models: Sequence[str]
) -> WorkerStanding | str:
    """The gateway's word, or why there is none."""
    url = f"{base}/v1/confidential/workers/{worker}/standing"
    raw = bytearray()
    try:
        with http.stream("GET", url, params={"model": list(models)}) as answer:
            if answer.status_code == _NOT_FOUND:
                return "it is of a version that does not tell standings"
            if not answer.is_success:
                return f"it answers with {answer.status_code}"
            for part in answer.iter_bytes():
                raw += part
                if len(raw) > MAX_STANDING_BYTES:
                    return "its answer is too long"
        return parse_standing(bytes(raw))
    except LinkError as error:
        return error.message
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"there is no connection ({type(error).__name__})"


def _last_words(folder: Path) -> LastWords | None:
    raw = _read(folder / LAST_WORDS)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=LastWords)
    except msgspec.DecodeError:
        return None


def _gpu(folder: Path) -> dict[str, Any] | None:
    raw = _read(folder / GPU_STATUS)
    try:
        told = json.loads(raw or b"null")
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _signed(path: Path, kind: type[Read]) -> Read | None:
    raw = _read(path)
    try:
        return None if raw is None else canonical.decode(raw, kind)
    except NotCanonical:
        return None


def _read(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None
