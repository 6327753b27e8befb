"""Which engine the settings ask for, and why (SPEC 2.6)."""

import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from bombyx.errors import SetupError
from worker.engine.choice import Choice, Machine, choose
from worker.engine.llamacpp import CONTEXT, LlamaCpp, LlamaCppEngine
from worker.engine.openai_http import OpenAIEngine, OpenAIServer
from worker.engine.port import Engine, EngineModel
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.engine.server.installed import count_gpus, installed_version
from worker.engine.server.launcher import ServerLauncher
from worker.engine.server.plan import Brand, Device, ServerPlan
from worker.engine.server.sglang import SGLANG
from worker.engine.server.vllm import VLLM
from worker.engine.smollm import MODEL_ID, ensure_smollm2
from worker.engine.supervised import SupervisedEngine
from worker.settings import WorkerSettings

Say = Callable[[str], None]

_log = structlog.get_logger("worker")

SCRATCH = "engine"
_BRANDS = {"sglang": SGLANG, "vllm": VLLM}


def build_engine(settings: WorkerSettings, *, state: Path, say: Say) -> Engine:
    """The engine, not started; may fetch the embedded model. Raises `SetupError`."""
    choice = _choose(settings)
    _log.info("engine", engine=choice.engine, reason=choice.reason)
    if choice.engine == "scripted":
        names = (settings.model,) if settings.model else Scripted().models
        return ScriptedEngine(Scripted(models=names, slots=settings.slots))
    if choice.engine == "openai":
        return _remote(settings)
    if choice.engine in _BRANDS:
        return _server(_BRANDS[choice.engine], settings, state=state, say=say)
    return _embedded(settings, state=state, say=say)


def served(engine: Engine, settings: WorkerSettings) -> list[EngineModel]:
    """The engine's models that this worker offers; raises `SetupError` when there are none."""
    models = engine.models()
    chosen = [one for one in models if settings.model in ("", one.id)]
    if not chosen:
        names = ", ".join(one.id for one in models) or "none"
        raise SetupError(
            f"the engine does not serve {settings.model or 'a model'}; it has: {names}"
        )
    return chosen


def engine_python(settings: WorkerSettings) -> Path:
    """The interpreter that model servers run in."""
    return settings.engine_python or Path(sys.executable)


def _choose(settings: WorkerSettings) -> Choice:
    path = settings.model_path
    if settings.engine != "auto" or path is None or not holds_safetensors(path):
        return choose(settings.engine, Machine(has_folder=False))
    python = engine_python(settings)
    versions = {name: installed_version(python, brand.package) for name, brand in _BRANDS.items()}
    return choose(
        "auto",
        Machine(
            has_folder=True,
            gpus=count_gpus(),
            may_use_cpu=settings.engine_device == "cpu",
            servers=tuple((name, one) for name, one in versions.items() if one is not None),
        ),
    )


def _remote(settings: WorkerSettings) -> Engine:
    if not settings.engine_url:
        raise SetupError("--engine openai needs --engine-url http://127.0.0.1:PORT")
    return OpenAIEngine(
        OpenAIServer(
            url=settings.engine_url,
            slots=settings.slots,
            allow_remote=settings.engine_allow_remote,
        )
    )


def _server(brand: Brand, settings: WorkerSettings, *, state: Path, say: Say) -> Engine:
    folder = settings.model_path
    if folder is None:
        raise SetupError(f"--engine {brand.name} needs --model-path, a folder of safetensors")
    folder = folder.resolve()
    plan = ServerPlan(
        folder=folder,
        model=settings.model or folder.name,
        # Not resolved: a virtual environment's Python is a link, and found by its name.
        python=engine_python(settings).absolute(),
        scratch=state / SCRATCH,
        context=settings.context,
        slots=settings.slots,
        max_waiting=settings.max_waiting,
        device=Device(settings.engine_device),
        tool_parser=settings.tool_parser,
        reasoning_parser=settings.reasoning_parser,
        flags=settings.engine_flags,
    )
    return SupervisedEngine(ServerLauncher(brand, plan, say=say))


def holds_safetensors(path: Path) -> bool:
    """Whether it is a folder for SGLang or vLLM."""
    return path.is_dir() and any(path.glob("*.safetensors"))


def _embedded(settings: WorkerSettings, *, state: Path, say: Say) -> Engine:
    path = settings.model_path
    if path is not None and path.is_dir():
        found = sorted(path.glob("*.gguf"))
        if len(found) != 1:
            raise SetupError(f"{path} holds {len(found)} GGUF files; name the one to serve")
        path = found[0]
    gguf = path or ensure_smollm2(state / "models", say)
    return LlamaCppEngine(
        LlamaCpp(
            gguf=gguf,
            model=settings.model or (path.stem if path else MODEL_ID),
            context=settings.context or CONTEXT,
            slots=settings.slots,
            threads=settings.threads,
        )
    )
