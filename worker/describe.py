"""`bombyx worker --describe`: what a worker with these settings will attest, without serving.

For whoever writes a policy: digests of models and engine, platform, what it measured.
"""

from pathlib import Path
from typing import Any

from bombyx.cli.output import Output
from worker.attest.choose import Machine, choose_machine
from worker.clock import now_ms
from worker.engine.supervised import SupervisedEngine
from worker.engines import build_engine
from worker.gpu.evidence import machine_gpus
from worker.logs import configure_logs
from worker.models.identity import identified
from worker.settings import WorkerSettings
from worker.state import make_state


async def describe(settings: WorkerSettings, folder: Path, output: Output) -> None:
    """Tell what the engine serves, starting it only to ask; raises `SetupError`."""
    configure_logs()
    machine = _machine(settings, folder)
    measured = await machine.measured()
    engine = build_engine(settings, state=folder, say=output.say)
    try:
        # What we start ourselves is known from its files; a large model loads for minutes.
        await (engine.examine() if isinstance(engine, SupervisedEngine) else engine.start())
        models = await identified(engine, settings, folder)
    finally:
        await engine.close()
    document: dict[str, Any] = {
        "platform": machine.quoter.platform,
        **measured,
        "models": [
            {"id": model.id, "weights": model.weights, "engine": model.engine} for model in models
        ],
    }
    lines = [f"platform {machine.quoter.platform}: {machine.reason}"]
    lines += [f"{name}: {_shown(value)}" for name, value in measured.items()]
    lines += [f"{model.id}: weights {model.weights}, engine {model.engine}" for model in models]
    output.answer(document, "\n".join(lines))


def _machine(settings: WorkerSettings, folder: Path) -> Machine:
    return choose_machine(
        settings, make_state(folder), clock=_now, gpus=machine_gpus(settings.gpus)
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)


def _now() -> int:
    return now_ms() // 1000
