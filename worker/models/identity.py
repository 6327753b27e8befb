"""What a worker attests about the model files that it serves: digest and bounds (SPEC 1.8, 2.4).

Made at boot, from the files as they are then: every byte is hashed, and where a manifest lies
beside them, they must be what it says. A server that we did not start proves nothing about its
files; its record stays as it was.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import UNSET

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, Manifest, lone_gguf, manifest_digest
from worker.engine.llamacpp import LlamaCppEngine
from worker.engine.port import Engine, EngineModel
from worker.engine.smollm import FILE_NAME
from worker.engine.supervised import SupervisedEngine
from worker.engines import served
from worker.models.bounds import measure_overhead, text_bounds
from worker.models.hashing import Advance, ignore
from worker.models.manifests import build_manifest, listed_files, read_manifest, verify_model
from worker.settings import WorkerSettings


async def identified(
    engine: Engine, settings: WorkerSettings, folder: Path
) -> Sequence[EngineModel]:
    """The models that an engine serves, with measured records; raises `SetupError`.

    `folder` is the worker's state folder, where the embedded model lies.
    """
    models = served(engine, settings)
    if not isinstance(engine, SupervisedEngine):
        return models
    path = settings.model_path or folder / "models" / FILE_NAME
    bounds = await asyncio.to_thread(lambda: text_bounds(listed_files(_beside(path))))
    return [
        replace(
            one,
            # Servers of safetensors are started on a folder that was held to its manifest.
            weights=await asyncio.to_thread(_gguf_digest, path, one.weights)
            if isinstance(engine, LlamaCppEngine)
            else one.weights,
            bytes_factor=bounds.bytes_factor,
            overhead=await measure_overhead(engine.count_prompt, one.id),
            max_image_tokens=bounds.max_image_tokens,
        )
        for one in models
    ]


def _gguf_digest(path: Path, sha256: str) -> str:
    """The manifest's digest of what llama.cpp serves; `sha256` is the file's, just computed."""
    if _beside(path).is_dir():
        return manifest_digest(model_manifest(path, engine="llamacpp"))
    try:
        return manifest_digest(lone_gguf(path.name, size=path.stat().st_size, sha256=sha256))
    except ValueError:
        raise SetupError(f"{path.name}: a manifest cannot hold such a name; rename it") from None


def model_manifest(
    model: Path, *, engine: str | None = None, advance: Advance = ignore
) -> Manifest:
    """What names a model: the manifest beside its files, which they are held against, or theirs.

    A GGUF in a folder with a manifest is that folder's model. Raises `SetupError`, also where the
    manifest is meant for another engine than `engine`.
    """
    model = _beside(model)
    stored = read_manifest(model / MANIFEST_FILE) if model.is_dir() else None
    if stored is None:
        return build_manifest(model, advance=advance)
    wanted = stored.engine
    if engine is not None and wanted is not UNSET and wanted.name != engine:
        raise SetupError(
            f"the model's manifest is for the engine {wanted.name}; name it: --engine {wanted.name}"
        )
    verify_model(model, stored, advance)
    return stored


def _beside(model: Path) -> Path:
    """The folder of a file that lies in a folder with a manifest; else the path itself."""
    has_manifest = model.is_file() and (model.parent / MANIFEST_FILE).is_file()
    return model.parent if has_manifest else model
