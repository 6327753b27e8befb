"""The engine and the model: whether what the settings name is there and is what it says."""

import sys
from pathlib import Path

from bombyx.errors import SetupError
from bombyx.manifest import MANIFEST_FILE, manifest_digest
from worker.doctor.check import Check, failed, passed, unknown
from worker.engine.server.installed import installed_version
from worker.models.identity import model_manifest

_PACKAGES = {"llamacpp": "xllamacpp", "sglang": "sglang", "vllm": "vllm"}
_INSTALL = {
    "llamacpp": 'pip install "bombyx[llamacpp]"',
    "sglang": "use the worker's GPU image, or name the Python of its environment: engine_python",
    "vllm": "install vLLM in an environment of its own, and name its Python: engine_python",
}


def check_engine(engine: str, *, model: Path | None = None, python: Path | None = None) -> Check:
    """Whether the engine is installed; `python` is the interpreter of an environment of its own.

    `auto` is what would serve `model`.
    """
    wanted = _wanted(engine, model)
    if not wanted:
        return passed("engine", f"engine {engine} needs nothing installed here")
    for name in wanted:
        here = Path(sys.executable) if python is None or name == "llamacpp" else python
        version = installed_version(here, _PACKAGES[name])
        if version is not None:
            return passed("engine", f"{name} {version} is installed")
    return failed("engine", f"{' or '.join(wanted)} is not installed", fix=_INSTALL[wanted[0]])


def _wanted(engine: str, model: Path | None) -> tuple[str, ...]:
    """The engines of which one must be here."""
    if engine in _PACKAGES:
        return (engine,)
    if engine != "auto":
        return ()
    is_folder = model is not None and model.is_dir() and any(model.glob("*.safetensors"))
    return ("sglang", "vllm") if is_folder else ("llamacpp",)


def check_model(path: Path | None) -> Check:
    """The model's files against their manifest; reads every byte."""
    if path is None:
        return unknown("model", "no model was named", fix="bombyx doctor --model-path FOLDER")
    try:
        manifest = model_manifest(path)
    except SetupError as error:
        fix = "bombyx models pull it again; an altered folder is not served"
        return failed("model", error.message, fix=fix)
    kept = path.is_dir() and (path / MANIFEST_FILE).exists()
    how = "is what its manifest says" if kept else "can be served; it has no manifest beside it"
    return passed("model", f"{path.name} {how}: weights {manifest_digest(manifest)}")
