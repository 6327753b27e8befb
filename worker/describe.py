"""`bombyx worker --describe`: what a worker with these settings will attest, without serving.

For whoever writes a policy: digests of models and engine, platform, image, simulated root.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from bombyx.attestation.policy import SIMULATED
from bombyx.attestation.simulated import image_measurement
from bombyx.cli.output import Output
from worker.attest.simulated_root import SimulatedRoot, load_or_create_root, root_sha256
from worker.clock import now_ms
from worker.engines import build_engine, served
from worker.logs import configure_logs
from worker.settings import WorkerSettings

ROOT_FILE = "simulated-root.pem"
_STATE_MODE = 0o700


async def describe(settings: WorkerSettings, folder: Path, output: Output) -> None:
    """Start the engine, tell what it serves, stop it; raises `SetupError`."""
    configure_logs()
    root = _root(settings, folder)
    engine = build_engine(settings, state=folder, say=output.say)
    try:
        await engine.start()
        models = served(engine, settings)
    finally:
        await engine.close()
    document: dict[str, Any] = {
        "platform": SIMULATED,
        "mr_td": image_measurement(version("bombyx")).hex(),
        "root": root_sha256(root),
        "models": [
            {"id": model.id, "weights": model.weights, "engine": model.engine} for model in models
        ],
    }
    lines = [f"platform {SIMULATED}, image {document['mr_td']}, root {document['root']}"]
    lines += [f"{model.id}: weights {model.weights}, engine {model.engine}" for model in models]
    output.answer(document, "\n".join(lines))


def _root(settings: WorkerSettings, folder: Path) -> SimulatedRoot:
    folder.mkdir(parents=True, exist_ok=True, mode=_STATE_MODE)
    return load_or_create_root(settings.simulated_root or folder / ROOT_FILE, now=now_ms() // 1000)
