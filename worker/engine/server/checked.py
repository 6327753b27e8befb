"""A model's folder as it is now: its manifest, its context, what it asks of the engine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, Manifest
from worker.models.folder import read_settings
from worker.models.manifests import build_manifest, read_manifest, verify_model

CONFIG = "config.json"
_CONTEXT_NAMES = ("max_position_embeddings", "max_sequence_length", "seq_length", "n_positions")
_WITHOUT_VALUE = ("", "true")


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """What was hashed; `context` in tokens, None where the model does not say.

    `asked` are the engine's flags of its manifest, by name without dashes.
    """

    manifest: Manifest
    context: int | None
    asked: Mapping[str, str]

    def write_checksums(self, path: Path) -> None:
        """In SGLang's own form: it compares what it loads with what we attested."""
        rows = self.manifest.files
        files = {one.path: {"sha256": one.sha256, "size": one.size} for one in rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({"files": files}), encoding="utf-8")
        draft.replace(path)


def check_model(folder: Path, engine: str) -> CheckedModel:
    """Hash a folder, and hold it to the manifest that lies in it; raises `SetupError`."""
    if not folder.is_dir():
        raise SetupError(f"{folder} is no folder with a model")
    stored = read_manifest(folder / MANIFEST_FILE)
    if stored is None:
        manifest = build_manifest(folder)
    else:
        verify_model(folder, stored)
        manifest = stored
    if manifest.format != "safetensors" or not (folder / CONFIG).is_file():
        raise SetupError(f"{folder} holds no safetensors with a {CONFIG}")
    wanted = manifest.engine
    if wanted is not UNSET and wanted.name != engine:
        raise SetupError(f"the model's manifest is for the engine {wanted.name}, not {engine}")
    flags = wanted.flags if wanted is not UNSET and wanted.flags is not UNSET else {}
    return CheckedModel(manifest, _context(read_settings(folder / CONFIG, CONFIG)), flags)


def as_words(asked: Mapping[str, str]) -> list[str]:
    """Flags by name as words of a command line; one without a value is a switch."""
    words: list[str] = []
    for name, value in sorted(asked.items()):
        words.append("--" + name.replace("_", "-"))
        if value not in _WITHOUT_VALUE:
            words.append(value)
    return words


def _context(config: Any) -> int | None:
    """The longest sequence that the model was made for; of text, where it has other parts too."""
    if not isinstance(config, dict):
        raise SetupError(f"the model's {CONFIG} is no JSON object")
    text = config.get("text_config")
    for holder in (text if isinstance(text, dict) else {}, config):
        told = [holder.get(name) for name in _CONTEXT_NAMES]
        found = next((one for one in told if type(one) is int and one > 0), None)
        if found is not None:
            return found
    return None
