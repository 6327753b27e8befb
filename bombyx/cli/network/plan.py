"""Which processes a network consists of, and their command lines."""

from dataclasses import dataclass
from enum import StrEnum

from bombyx.cli.network.child import Recipe, bombyx
from bombyx.cli.network.state import NetworkState, fresh_log
from bombyx.errors import SetupError

HOST = "127.0.0.1"
MAX_WORKERS = 16
MODEL_SECONDS = 120.0
"""A worker is ready once its engine is: that may load a model."""
SIDECAR, GATEWAY, WORKER = "sidecar", "gateway", "worker"


class EngineKind(StrEnum):
    """What answers behind the workers."""

    LLAMACPP = "llamacpp"
    SCRIPTED = "scripted"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for; ports are the first to try."""

    engine: EngineKind = EngineKind.LLAMACPP
    engine_url: str | None = None
    workers: int = 2
    port: int = 8787
    gateway_port: int = 8080

    def __post_init__(self) -> None:
        if (self.engine is EngineKind.OPENAI) != (self.engine_url is not None):
            raise SetupError("--engine openai and --engine-url URL belong together")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise SetupError(f"--workers must be 1 to {MAX_WORKERS}")


def engine_flags(wish: Wish) -> tuple[str, ...]:
    """What tells a worker its engine."""
    url = ("--engine-url", wish.engine_url) if wish.engine_url else ()
    return ("--engine", wish.engine.value, *url)


def gateway_recipe(state: NetworkState, *, port: int, slot: int = 0) -> Recipe:
    """The gateway's process of one slot, on loopback."""
    name = f"{GATEWAY}-{slot}" if slot else GATEWAY
    return Recipe(
        name,
        bombyx(
            *("gateway", "--host", HOST, "--port", str(port), "--state", str(state.folder)),
            *("--policy", str(state.policy), "--slot", str(slot), "--json"),
        ),
        fresh_log(state, name),
    )


def worker_recipe(state: NetworkState, wish: Wish, number: int, *, gateway: str) -> Recipe:
    """Worker `number`, which dials the gateway."""
    name = f"{WORKER}-{number}"
    return Recipe(
        name,
        bombyx(
            *("worker", "--gateway", gateway, *engine_flags(wish)),
            *("--state", str(state.worker(number)), "--simulated-root", str(state.simulated_root)),
            *("--wallet", f"local:{name}", "--json"),
        ),
        fresh_log(state, name),
        ready_seconds=MODEL_SECONDS,
    )


def sidecar_recipe(state: NetworkState, *, port: int, gateway: str) -> Recipe:
    """The sidecar that any SDK is pointed at."""
    return Recipe(
        SIDECAR,
        bombyx(
            *("proxy", "--gateway", gateway, "--policy", str(state.policy), "--port", str(port)),
            *("--api-key-file", str(state.api_key), "--state", str(state.folder), "--json"),
        ),
        fresh_log(state, SIDECAR),
    )
