"""Settings of the worker: `[worker]` of bombyx.toml, `BOMBYX_WORKER_*`, flags.

What can change a worker's promises (models, prices, payout) is part of what it signs.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from bombyx.money.channel.addresses import account_of
from bombyx.settings import RoleSettings
from bombyx.units import MAX_NANO

_Price = Annotated[int, Field(ge=0, le=MAX_NANO)]
_Count = Annotated[int, Field(ge=1, le=100_000)]

_MEANT_AS_ADDRESS: Final = re.compile(r"[EUk0][Qf].*|.{48}|-?[0-9]+:.*")
"""TON's spellings; other names are of local networks, where nobody is paid on a chain."""
_SHARES: Final = {
    "price_prompt": 3,
    "price_cached": 12,
    "price_completion": 1,
    "price_reasoning": 1,
}
"""What each price is of `price`, as a divisor; the defaults have the same proportions."""


def _prices(told: Any) -> dict[str, int]:
    """What `price` makes of the four; nothing of what is no price, as the field itself says."""
    try:
        price = int(told)
    except (TypeError, ValueError, OverflowError):
        return {}
    is_price = 0 <= price <= MAX_NANO
    return {name: price // share for name, share in _SHARES.items()} if is_price else {}


class WorkerSettings(RoleSettings):
    """Every setting of `bombyx worker`; prices are nano-GRAM per million tokens."""

    STANDS_FOR = {"price": _prices}  # noqa: RUF012 - a ClassVar of the base

    gateway: tuple[str, ...] = ()
    """Gateways to serve: http(s)://HOST:PORT, or the link's ws(s) URL."""
    gateway_policy: Path | None = None
    """A policy whose `[gateway]` every gateway must prove itself by before it is linked to."""
    engine: Literal["auto", "sglang", "vllm", "llamacpp", "scripted", "openai"] = "auto"
    """`auto`: SGLang or vLLM for a folder of safetensors, else llama.cpp."""
    engine_url: str = ""
    """Of engine `openai`: an OpenAI-compatible server on this machine."""
    engine_allow_remote: bool = False
    """Let `engine_url` leave loopback: prompts then travel there in the clear."""
    model: str = ""
    """The name to serve; of engine `openai` it picks one of the server's models."""
    model_path: Path | None = None
    """A GGUF file for llama.cpp, a folder of safetensors for SGLang and vLLM; without it
    SmolLM2-135M-Instruct is fetched once for llama.cpp."""
    also: tuple[str, ...] = ()
    """Further models to serve beside it: `NAME=PATH`, a path, or a name of the model store."""
    models: Path | None = None
    """The store of `bombyx models`; in the user's data folder when unset."""
    hub: str = "https://huggingface.co"
    """Where `bombyx models pull` fetches from: Hugging Face or a mirror of it."""
    hub_token: SecretStr | None = None
    """What the hub wants for models that are not open to all."""
    gpus: Annotated[str, Field(pattern=r"^[0-9,-]{0,256}$")] = ""
    """GPUs by number, `0-3,4-7`: a worker process for each group; none or all when empty."""
    context: Annotated[int, Field(ge=256, le=100_000_000)] | None = None
    """Tokens per request; the model's own when unset, 2048 of llama.cpp."""
    engine_python: Path | None = None
    """The Python of the environment that holds SGLang or vLLM; the worker's own when unset."""
    engine_device: Literal["gpu", "cpu"] = "gpu"
    """`cpu` is slow, and for tests."""
    engine_flags: tuple[str, ...] = ()
    """Further flags of SGLang or vLLM, such as `--tp-size=4`; from an allow-list."""
    tool_parser: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{0,40}$")] = ""
    """The server's parser of tool calls; `auto` lets SGLang guess, empty is the manifest's."""
    reasoning_parser: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{0,40}$")] = ""
    """The same for reasoning."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    slots: _Count = 4
    """Requests that run at once."""
    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Requests that may wait for a slot; more are refused as `busy`."""
    wallet: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_-]{1,80}$")] = "unset"
    """Address that earnings go to; part of the keyset."""
    price: _Price | None = None
    """One number for all four: what an answer's tokens cost; a prompt's a third of it, cached ones
    a twelfth. One of the four that the same source names goes before it."""
    price_prompt: _Price = 20_000_000
    price_cached: _Price = 5_000_000
    price_completion: _Price = 60_000_000
    price_reasoning: _Price = 60_000_000
    payout_key: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """The owner's key in payout channels, of `bombyx owner init`; the same for all workers of an
    owner. Empty: one that nobody has the secret of."""
    unsecured_credit_nano: _Price | None = None
    """How much a gateway may owe beyond what lies in its payout channel. Unset: 0.05 GRAM once
    `bombyx owner watch` tells the worker of the chain, and no limit before."""
    credit_limit_nano: _Price | None = None
    """How much a gateway may owe at most, whatever lies in its payout channel; unset: no limit."""
    platform: Literal["auto", "tdx", "sev-snp", "vtpm", "simulated"] = "auto"
    """What to attest with; `auto` looks for a TEE, and simulates where there is none."""
    tsm_path: Path = Path("/sys/kernel/config/tsm/report")
    """Where the kernel's configfs-tsm is; containers have it mounted elsewhere."""
    dstack_socket: Path = Path("/var/run/dstack.sock")
    """Where a dstack guest agent listens, in machines that have one."""
    tpm_device: Path = Path("/dev/tpmrm0")
    """Of platform `vtpm`: a TPM's device, or the unix socket of a software TPM."""
    collateral: Path | None = None
    """A file of `bombyx collateral export` to take vendors' words from, in place of a gateway."""
    simulated_root: Path | None = None
    """The simulated network's root, shared by its workers; in the state folder when unset."""
    grace_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """How long running requests may go on after SIGTERM."""

    @field_validator("wallet")
    @classmethod
    def _is_address(cls, given: str) -> str:
        """An address with a wrong letter has a wrong checksum: nobody could be paid there."""
        if _MEANT_AS_ADDRESS.fullmatch(given) and account_of(given) is None:
            raise PydanticCustomError(
                "address", "is no address of TON's basechain, or a letter of it is wrong"
            )
        return given
