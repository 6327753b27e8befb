"""Which engine the settings ask for (SPEC 2.6)."""

from collections.abc import Callable
from pathlib import Path

from bombyx.errors import SetupError
from worker.engine.llamacpp import LlamaCpp, LlamaCppEngine
from worker.engine.openai_http import OpenAIEngine, OpenAIServer
from worker.engine.port import Engine, EngineModel
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.engine.smollm import MODEL_ID, ensure_smollm2
from worker.settings import WorkerSettings


def build_engine(settings: WorkerSettings, *, state: Path, say: Callable[[str], None]) -> Engine:
    """The engine, not started; may fetch the embedded model. Raises `SetupError`."""
    if settings.engine == "scripted":
        names = (settings.model,) if settings.model else Scripted().models
        return ScriptedEngine(Scripted(models=names, slots=settings.slots))
    if settings.engine == "openai":
        if not settings.engine_url:
            raise SetupError("--engine openai needs --engine-url http://127.0.0.1:PORT")
        return OpenAIEngine(
            OpenAIServer(
                url=settings.engine_url,
                slots=settings.slots,
                allow_remote=settings.engine_allow_remote,
            )
        )
    gguf = settings.model_path or ensure_smollm2(state / "models", say)
    name = settings.model or (settings.model_path.stem if settings.model_path else MODEL_ID)
    return LlamaCppEngine(
        LlamaCpp(
            gguf=gguf,
            model=name,
            context=settings.context,
            slots=settings.slots,
            threads=settings.threads,
        )
    )


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
