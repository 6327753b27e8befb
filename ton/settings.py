"""Settings of everything that touches the chain: `[ton]` of bombyx.toml, `BOMBYX_TON_*`, flags."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from bombyx.settings import RoleSettings

MAINNET, TESTNET = -239, -3
DEVNET = 0x626F6D62
"""Our devnets' id ("bomb"): what is signed for one is worth nothing on a public network."""


class TonSettings(RoleSettings):
    """Which network, whom to ask about it, and how the devnet listens."""

    network: Annotated[int, Field(ge=-(2**31), lt=2**31)] = DEVNET
    """The network's id, which every voucher names: -239 mainnet, -3 testnet, else a devnet's."""
    providers: tuple[str, ...] = ()
    """Whom to ask, each by another operator: toncenter APIs (v2), such as
    `https://toncenter.com/api/v2`, or `liteserver://HOST:PORT/KEY`; mainnet needs two."""
    quorum: Annotated[int, Field(ge=1, le=16)] | None = None
    """How many providers must say the same before money moves; more than half when unset."""
    api_keys: tuple[SecretStr, ...] = ()
    """Of the providers, in their order; empty for those that want none."""
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] = 10.0
    """To each provider; toncenter.com allows 1 without a key."""
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """For each answer of a provider."""
    devnet_host: str = "127.0.0.1"
    """Where `bombyx devnet` listens. Whoever reaches it can make money there."""
    devnet_port: Annotated[int, Field(ge=0, le=65535)] = 8181
    """The devnet's port; 0 takes a free one."""
    emulator: Path | None = None
    """The node_modules folder with @ton/sandbox; the one of `make tools` when unset."""
