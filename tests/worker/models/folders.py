"""Small folders that look like models, and the settings that make them."""

import json
import struct
from pathlib import Path
from typing import Any

GGUF = Path(__file__).parents[2] / "fixtures" / "tiny-llama" / "tiny-f16.gguf"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
}


def safetensors(content: bytes = b"weights") -> bytes:
    """A file with an honest header."""
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    return struct.pack("<Q", len(header)) + header + content


def files(**more: bytes) -> dict[str, bytes]:
    """What a folder holds, by path."""
    return {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": json.dumps(TOKENIZER).encode(),
        "chat_template.jinja": TEMPLATE.encode(),
        "model-00001-of-00002.safetensors": safetensors(b"one"),
        "model-00002-of-00002.safetensors": safetensors(b"two"),
        **more,
    }


def write(folder: Path, content: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for path, data in content.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def gguf(values: dict[str, str], arrays: dict[str, list[str]] | None = None) -> bytes:
    """The head of a GGUF file with texts and arrays of texts."""

    def text(one: str) -> bytes:
        return struct.pack("<Q", len(one.encode())) + one.encode()

    entries = [text(key) + struct.pack("<I", 8) + text(value) for key, value in values.items()]
    for key, ones in (arrays or {}).items():
        body = b"".join(text(one) for one in ones)
        entries.append(text(key) + struct.pack("<IIQ", 9, 8, len(ones)) + body)
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries)
