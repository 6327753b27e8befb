"""Where a liteserver is and by which key it is known: `liteserver://HOST:PORT/KEY`."""

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519

from bombyx.errors import SetupError

SCHEME: Final = "liteserver"
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_KEY_BYTES: Final = 32
_HOST_ONLY: Final = re.compile(r"[A-Za-z0-9.:\-\[\]]+")
"""No user, no password: a liteserver knows neither."""


@dataclass(frozen=True, slots=True)
class Place:
    """A liteserver: its name in errors is `host:port`; `key` is its public Ed25519 key."""

    name: str
    host: str
    port: int
    key: bytes


def is_liteserver(url: str) -> bool:
    """Whether a provider is named as a liteserver."""
    return url.startswith(f"{SCHEME}://")


def parse_place(url: str) -> Place:
    """From a provider's text; raises `SetupError`. The key is base64 (either alphabet) or hex."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # of names that are none, too
        host = port = None
    if not host or not port or not _HOST_ONLY.fullmatch(parts.netloc):
        raise SetupError("[ton] providers: a liteserver is named liteserver://HOST:PORT/KEY")
    key = _key(url.partition(parts.netloc + "/")[2])
    if key is None:
        raise SetupError(
            f"[ton] providers: after {parts.netloc}/ belongs the liteserver's public key, "
            "as the network's configuration has it (base64), or in hex"
        )
    return Place(parts.netloc, host, port, key)


def _key(text: str) -> bytes | None:
    try:
        if _HEX.fullmatch(text):
            key = bytes.fromhex(text)
        else:
            padded = text.translate(_URL_SAFE).rstrip("=") + "="
            key = b64decode(padded, validate=True)
        if len(key) != _KEY_BYTES:
            return None
        crypto_sign_ed25519_pk_to_curve25519(key)
    except (ValueError, RuntimeError):  # nacl says with the latter that this is no key
        return None
    return key
