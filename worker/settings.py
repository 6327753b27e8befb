"""Settings of the worker: `[worker]` of bombyx.toml, `BOMBYX_WORKER_*`, flags.

What can change a worker's promises (models, prices, payout) is part of what it signs.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bombyx.settings import RoleSettings
from bombyx.units import MAX_NANO

_Price = Annotated[int, Field(ge=0, le=MAX_NANO)]
_Count = Annotated[int, Field(ge=1, le=100_000)]


class WorkerSettings(RoleSettings):
    """Every setting of `bombyx worker`; prices are nano-GRAM per million tokens."""

    gateway: tuple[str, ...] = ()
    """Gateways to serve: http(s)://HOST:PORT, or the link's ws(s) URL."""
    engine: Literal["llamacpp", "scripted", "openai"] = "llamacpp"
    engine_url: str = ""
    """Of engine `openai`: an OpenAI-compatible server on this machine."""
    engine_allow_remote: bool = False
    """Let `engine_url` leave loopback: prompts then travel there in the clear."""
    model: str = ""
    """The name to serve; of engine `openai` it picks one of the server's models."""
    model_path: Path | None = None
    """Of engine `llamacpp`: a GGUF file; without it SmolLM2-135M-Instruct is fetched once."""
    context: Annotated[int, Field(ge=256, le=100_000_000)] = 2048
    """Of engine `llamacpp`: tokens per request."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    slots: _Count = 4
    """Requests that run at once."""
    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Requests that may wait for a slot; more are refused as `busy`."""
    wallet: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_-]{1,80}$")] = "unset"
    """Address that earnings go to; part of the keyset."""
    price_prompt: _Price = 20_000_000
    price_cached: _Price = 5_000_000
    price_completion: _Price = 60_000_000
    price_reasoning: _Price = 60_000_000
    unsecured_credit_nano: _Price | None = None
    """How much a gateway may owe before its requests are refused. None means no limit: while the
    network has no payout channels nothing is ever paid, so any limit would stop the worker."""
    simulated_root: Path | None = None
    """The simulated network's root, shared by its workers; in the state folder when unset."""
    grace_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """How long running requests may go on after SIGTERM."""
