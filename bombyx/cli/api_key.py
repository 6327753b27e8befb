"""A gateway's API key as commands take it: given, or in a file that other users cannot see."""

from pathlib import Path

from bombyx.errors import SetupError

MAX_KEY_BYTES = 4096


def read_key(given: str | None, file: Path | None) -> str | None:
    """The API key of two flags of which one may be given; raises `SetupError`."""
    if file is None:
        return given
    if given is not None:
        raise SetupError("--api-key and --api-key-file are both given: keep one")
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SetupError(f"{file} cannot be read") from None
    if not text or len(text) > MAX_KEY_BYTES:
        raise SetupError(f"{file} holds no API key")
    return text
