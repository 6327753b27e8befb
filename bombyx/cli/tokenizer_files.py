"""A model's tokenizer: a GGUF through llama.cpp, a `tokenizer.json` through Hugging Face.

A GGUF whose manifest has the digest that the receipt names as `weights` is the model itself, so its
tokenizer is proven to be the right one; any other file is the user's own word.
"""

import contextlib
import hashlib
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bombyx import canonical
from bombyx.cli.recount import Tokenizer
from bombyx.errors import NotCanonical, SetupError
from bombyx.manifest import MANIFEST_FILE, Manifest, lone_gguf, manifest_digest

_CONTEXT = 512
"""Room that llama.cpp must reserve though nothing is generated; longer texts are cut as well."""
_SECONDS = 60
_SHAPING = ("messages", "tools", "tool_choice", "response_format", "chat_template_kwargs")
"""The fields that a template sees."""


def file_sha256(path: Path) -> str:
    """Hex digest of a file; raises `SetupError`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None


def is_model(path: Path, weights: str) -> bool:
    """Whether a GGUF is the model of these `weights`, alone or as its folder's manifest lists it.

    Raises `SetupError`.
    """
    sha256 = file_sha256(path)
    if sha256 == weights:  # receipts of workers before there were manifests
        return True
    return any(
        manifest_digest(manifest) == weights
        and any(file.path == path.name and file.sha256 == sha256 for file in manifest.files)
        for manifest in _manifests(path, sha256)
    )


def _manifests(path: Path, sha256: str) -> Iterator[Manifest]:
    with contextlib.suppress(ValueError):  # a name that no manifest can hold
        yield lone_gguf(path.name, size=path.stat().st_size, sha256=sha256)
    with contextlib.suppress(OSError, NotCanonical):
        yield canonical.decode((path.parent / MANIFEST_FILE).read_bytes(), Manifest)


def find_model(weights: str, folders: Iterable[Path]) -> Path | None:
    """The GGUF below one of the folders that is the model of these `weights`."""
    for folder in folders:
        for path in sorted(folder.glob("**/*.gguf")):
            if is_model(path, weights):
                return path
    return None


@contextmanager
def open_tokenizer(path: Path) -> Iterator[Tokenizer]:
    """The tokenizer in a GGUF, a `tokenizer.json`, or a folder with one; raises `SetupError`."""
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.suffix == ".gguf":
        with _llamacpp(path) as tokenizer:
            yield tokenizer
    else:
        yield _HuggingFace(path)


class _HuggingFace:
    """A `tokenizer.json`. Templates are programs, and none is run here."""

    def __init__(self, path: Path) -> None:
        try:
            import tokenizers  # noqa: PLC0415  (an extra)
        except ModuleNotFoundError:
            raise SetupError('a tokenizer.json needs: pip install "bombyx[audit]"') from None
        if not path.is_file():
            raise SetupError(f"there is no {path}")
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception:  # noqa: BLE001  (the library raises nothing narrower)
            raise SetupError(f"{path} is no tokenizer.json") from None

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count_prompt(self, body: Mapping[str, Any]) -> int | None:  # noqa: ARG002  (no template)
        return None


@contextmanager
def _llamacpp(path: Path) -> Iterator[Tokenizer]:
    """llama.cpp's own tokenizer and template, which its server shows on a loopback port."""
    try:
        import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError:
        raise SetupError('a GGUF needs: pip install "bombyx[llamacpp]"') from None
    if not path.is_file():
        raise SetupError(f"there is no {path}")
    key = secrets.token_hex(16)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames, params.api_keys = ["127.0.0.1"], [key]
    params.n_ctx, params.n_parallel = _CONTEXT, 1
    params.warmup = params.ui = False
    params.verbosity = 0
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        raise SetupError(f"llama.cpp does not read {path}") from None
    yield _LlamaCpp(server.listening_address, key)
    del server  # stops its threads


class _LlamaCpp:
    """The server's two endpoints."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        # Past any proxy of the environment, which cannot reach this process.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def count(self, text: str) -> int:
        return self._count(text, special=False)

    def count_prompt(self, body: Mapping[str, Any]) -> int | None:
        shaping = {name: body[name] for name in _SHAPING if name in body}
        prompt = self._ask("/apply-template", shaping).get("prompt")
        return self._count(prompt, special=True) if isinstance(prompt, str) else None

    def _count(self, text: str, *, special: bool) -> int:
        asked = {"content": text, "add_special": special, "parse_special": special}
        return len(self._ask("/tokenize", asked)["tokens"])

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers)  # noqa: S310  (ours)
        try:
            with self._opener.open(request, timeout=_SECONDS) as response:
                told: dict[str, Any] = json.load(response)
                return told
        except (urllib.error.URLError, ValueError):
            raise SetupError("the model's tokenizer or template refuses this transcript") from None
