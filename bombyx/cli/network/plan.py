"""Which processes a network consists of, and their command lines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bombyx.cli.network.child import Recipe, bombyx
from bombyx.cli.network.state import NetworkState, fresh_log
from bombyx.errors import SetupError

HOST = "127.0.0.1"
MAX_WORKERS = 16
MODEL_SECONDS = 120.0
"""A worker is ready once its engine is: that may load a model."""
LARGE_MODEL_SECONDS = 3600.0
"""One of hundreds of gigabytes: hashed first, then loaded."""
SIDECAR, GATEWAY, WORKER, CHAIN = "sidecar", "gateway", "worker", "chain"


class EngineKind(StrEnum):
    """What answers behind the workers."""

    AUTO = "auto"
    SGLANG = "sglang"
    VLLM = "vllm"
    LLAMACPP = "llamacpp"
    SCRIPTED = "scripted"
    OPENAI = "openai"


class ChainKind(StrEnum):
    """What the network is paid on; `auto` is the devnet where a TVM is installed."""

    AUTO = "auto"
    DEVNET = "devnet"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for; ports are the first to try."""

    engine: EngineKind = EngineKind.LLAMACPP
    engine_url: str | None = None
    workers: int = 2
    port: int = 8787
    gateway_port: int = 8080
    model_path: Path | None = None
    processes: int = 1
    database_url: str | None = None
    chain: ChainKind = ChainKind.NONE

    def __post_init__(self) -> None:
        if (self.engine is EngineKind.OPENAI) != (self.engine_url is not None):
            raise SetupError("--engine openai and --engine-url URL belong together")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise SetupError(f"--workers must be 1 to {MAX_WORKERS}")
        if self.processes > 1 and not self.database_url:
            raise SetupError(
                "several gateway processes share one PostgreSQL database: "
                "give --database-url postgresql://…"
            )


def engine_flags(wish: Wish) -> tuple[str, ...]:
    """What tells a worker its engine."""
    url = ("--engine-url", wish.engine_url) if wish.engine_url else ()
    path = ("--model-path", str(wish.model_path.absolute())) if wish.model_path else ()
    return ("--engine", wish.engine.value, *url, *path)


def ready_seconds(wish: Wish) -> float:
    """How long a worker may take; a folder of safetensors may be one for many GPUs."""
    is_folder = wish.model_path is not None and wish.model_path.is_dir()
    return LARGE_MODEL_SECONDS if is_folder else MODEL_SECONDS


def database_flags(wish: Wish) -> tuple[str, ...]:
    """What names another database than the SQLite file in the folder."""
    return ("--database-url", wish.database_url) if wish.database_url else ()


def chain_settings(providers: Sequence[str], network: int) -> dict[str, str]:
    """The settings, as environment, of whoever uses this network's own devnet and no other chain.

    Blocks are there at once and nobody limits our rate, so that all may look often.
    """
    return {
        "BOMBYX_TON_PROVIDERS": json.dumps(list(providers)),
        "BOMBYX_TON_API_KEYS": "[]",
        "BOMBYX_TON_NETWORK": str(network),
        "BOMBYX_TON_REQUESTS_PER_SECOND": "1000",
        "BOMBYX_GATEWAY_CHAIN": "ton",
        "BOMBYX_GATEWAY_CHAIN_EVERY_S": "1",
    }


NO_CHAIN = {"BOMBYX_GATEWAY_CHAIN": "none"}
"""Whatever the settings of this machine name: a local network pays nobody outside of it."""


def chain_recipe(state: NetworkState, *, port: int) -> Recipe:
    """The devnet: a TON chain of this network's own."""
    where = ("--host", HOST, "--port", str(port), "--state", str(state.folder))
    return Recipe(CHAIN, bombyx("devnet", *where, "--json"), fresh_log(state, CHAIN))


def gateway_recipe(
    state: NetworkState,
    wish: Wish | None = None,
    *,
    port: int,
    slot: int = 0,
    chain: Mapping[str, str] | None = None,
) -> Recipe:
    """The gateway on loopback: the process of one slot, or the supervisor of several."""
    wish = wish or Wish()
    name = f"{GATEWAY}-{slot}" if slot else GATEWAY
    return Recipe(
        name,
        bombyx(
            *("gateway", "--host", HOST, "--port", str(port), "--state", str(state.folder)),
            *("--policy", str(state.policy), "--slot", str(slot), "--json"),
            *("--processes", str(wish.processes), *database_flags(wish)),
        ),
        fresh_log(state, name),
        environment=chain or NO_CHAIN,
    )


def worker_recipe(
    state: NetworkState, wish: Wish, number: int, *, gateway: str, payee: Sequence[str] = ()
) -> Recipe:
    """Worker `number`, which dials the gateway; `payee` are the flags that name its owner."""
    name = f"{WORKER}-{number}"
    payee = payee or ("--wallet", f"local:{name}")
    return Recipe(
        name,
        bombyx(
            *("worker", "--gateway", gateway, *engine_flags(wish)),
            *("--state", str(state.worker(number)), "--simulated-root", str(state.simulated_root)),
            *(*payee, "--json"),
        ),
        fresh_log(state, name),
        ready_seconds=ready_seconds(wish),
    )


def sidecar_recipe(
    state: NetworkState,
    *,
    port: int,
    gateway: str,
    words: Path | None = None,
    chain: Mapping[str, str] | None = None,
) -> Recipe:
    """The sidecar that any SDK is pointed at; with a wallet's `words` it pays by channel.

    Where it does not, its state is another folder: channels of an earlier start on the devnet are
    of no use to it.
    """
    paying = ("--no-pay",) if words is None else ("--pay", "--mnemonic-file", str(words))
    where = state.folder if words is None else state.payer
    return Recipe(
        SIDECAR,
        bombyx(
            *("proxy", "--gateway", gateway, "--policy", str(state.policy), "--port", str(port)),
            *("--api-key-file", str(state.api_key), "--state", str(where), *paying),
            *("--token-file", str(state.folder / "proxy.token"), "--json"),
        ),
        fresh_log(state, SIDECAR),
        environment=chain or {},
    )
