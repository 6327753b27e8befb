"""What a model hub says of one commit of a repository: its files and their hashes (docs/models.md).

The interface is Hugging Face's, and mirrors of it are many; a commit of 40 hex digits, never a
branch, since a branch can be moved under whoever trusts it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx2

from bombyx.errors import SetupError
from bombyx.manifest import MAX_FILES, is_path
from worker.models.folder import MAX_MODEL_BYTES
from worker.models.kinds import Kind, kind_of

MAX_LISTING_BYTES = 16 * 2**20
_MAX_PAGES = 64
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OK = 200
_REFUSED = (401, 403)
_ABSENT = 404


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the commit; `sha256` for large ones, git's own `blob` hash for small ones."""

    path: str
    size: int
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of one repository on one hub."""

    hub: str
    repository: str
    revision: str

    @classmethod
    def named(cls, hub: str, repository: str, revision: str) -> "Commit":
        """Checked; raises `SetupError`."""
        if _REPOSITORY.fullmatch(repository) is None or ".." in repository:
            raise SetupError("a repository is OWNER/NAME")
        if _REVISION.fullmatch(revision) is None:
            raise SetupError("name the commit, never a branch: --revision with 40 hex digits")
        parts = urlsplit(hub)
        is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        if not parts.hostname or not (parts.scheme == "https" or is_local):
            raise SetupError("the hub's URL is https://HOST (http only on this machine)")
        return cls(hub.rstrip("/"), repository, revision)

    @property
    def name(self) -> str:
        """What the store calls it."""
        return f"{self.repository.replace('/', '--')}@{self.revision[:12]}"

    def url(self, path: str) -> str:
        """Where a file's bytes are."""
        return f"{self.hub}/{self.repository}/resolve/{self.revision}/{quote(path)}"

    def files(self, client: httpx2.Client) -> list[RemoteFile]:
        """All files of the commit; raises `SetupError`."""
        found: list[RemoteFile] = []
        for page in self._pages(client):
            found += [_file(entry) for entry in page if entry.get("type") == "file"]
            if len(found) > MAX_FILES:
                raise SetupError(f"{self.repository} has more files than a model can have")
        if sum(file.size for file in found) > MAX_MODEL_BYTES:
            raise SetupError(f"{self.repository} is larger than a model can be")
        return found

    def _pages(self, client: httpx2.Client) -> Iterator[list[dict[str, Any]]]:
        url = f"{self.hub}/api/models/{self.repository}/tree/{self.revision}?recursive=true"
        for _ in range(_MAX_PAGES):
            answer = self._ask(client, url)
            yield _entries(answer)
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            url = urljoin(url, following)
            if urlsplit(url)[:2] != urlsplit(self.hub)[:2]:
                raise SetupError(f"{self.hub} sends its listing to another host")
        raise SetupError(f"the listing of {self.repository} has no end")

    def _ask(self, client: httpx2.Client, url: str) -> httpx2.Response:
        try:
            answer = client.get(url)
        except httpx2.HTTPError as error:
            kind = type(error).__name__
            raise SetupError(f"{self.hub} cannot be reached ({kind})") from None
        if answer.status_code in _REFUSED:
            raise SetupError(f"{self.hub} wants a token for {self.repository}: set hub_token")
        if answer.status_code == _ABSENT:
            raise SetupError(f"{self.hub} has no {self.repository} at {self.revision}")
        if answer.status_code != _OK or len(answer.content) > MAX_LISTING_BYTES:
            raise SetupError(f"{self.hub} answered {answer.status_code} for its listing")
        return answer


def _entries(answer: httpx2.Response) -> list[dict[str, Any]]:
    try:
        read = answer.json()
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, list) or not all(isinstance(entry, dict) for entry in read):
        raise SetupError("the hub's listing is not one")
    return read


def _file(entry: dict[str, Any]) -> RemoteFile:
    path, size, large = entry.get("path"), entry.get("size"), entry.get("lfs")
    sha256 = str(large.get("oid", "")) if isinstance(large, dict) else ""
    blob = "" if large else str(entry.get("oid", ""))
    is_hashed = _SHA256.fullmatch(sha256) or _REVISION.fullmatch(blob)
    if not isinstance(path, str) or type(size) is not int or size < 0 or not is_hashed:
        raise SetupError("the hub's listing has an entry without path, size or hash")
    return RemoteFile(path, size, sha256, blob)


def choose_files(files: list[RemoteFile], gguf: str | None = None) -> list[RemoteFile]:
    """What to fetch: one kind of weights with its settings; never pickles, code or papers.

    A repository of GGUF files often has the same model many times: `gguf` names the one wanted.
    Raises `SetupError`.
    """
    by_kind: dict[Kind, list[RemoteFile]] = {}
    for file in files:
        by_kind.setdefault(kind_of(file.path), []).append(file)
    data = by_kind.get(Kind.DATA, [])
    if gguf is None and Kind.SAFETENSORS in by_kind:
        return _named([*by_kind[Kind.SAFETENSORS], *data])
    quantised = by_kind.get(Kind.GGUF, [])
    wanted = [file for file in quantised if gguf in (None, file.path)]
    if len(wanted) == 1:
        return _named(wanted)
    if quantised:
        names = ", ".join(file.path for file in quantised[:20])
        raise SetupError(f"name one file with --file: {names}")
    if Kind.PICKLE in by_kind:
        raise SetupError("the repository has its weights as pickles only, which run code")
    raise SetupError("the repository holds no weights: neither safetensors nor GGUF")


def _named(files: list[RemoteFile]) -> list[RemoteFile]:
    for file in files:
        if not is_path(file.path):
            raise SetupError("the repository has a file whose name leads out of the folder")
    # Small ones first: settings that bring code are seen before the weights are fetched.
    return sorted(files, key=lambda file: file.size)
