"""Settings of the gateway: `[gateway]` of bombyx.toml, `BOMBYX_GATEWAY_*`, flags."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from bombyx.settings import RoleSettings

_Seconds = Annotated[int, Field(ge=1, le=86_400)]
_Megabytes = Annotated[int, Field(ge=1, le=65_536)]


class GatewaySettings(RoleSettings):
    """Every setting of `bombyx gateway`; sizes and times say their unit in the name."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    slot: Annotated[int, Field(ge=0, le=4095)] = 0
    link_url: str = ""
    """Public URL at which workers dial this process; made of host, port and slot when empty."""
    database_url: str = ""
    """`sqlite:///path` or `postgresql://…`; a SQLite file in the state folder when empty."""
    policy: Path | None = None
    """Which workers are listed; without it none is."""
    fee_bps: Annotated[int, Field(ge=0, le=10_000)] = 500
    default_max_output_tokens: Annotated[int, Field(ge=16, le=10_000_000)] = 4096
    max_request_mb: _Megabytes = 32
    buffered_requests_mb: _Megabytes = 512
    kept_answers_mb: _Megabytes = 256
    first_byte_stream_s: _Seconds = 120
    first_byte_whole_s: _Seconds = 600
    idle_s: _Seconds = 120
    """How long a worker may be silent in the middle of a stream."""
    heartbeat_s: _Seconds = 15
    """After how much silence a bare stream gets a comment that keeps connections open."""
    max_duration_s: _Seconds = 600
    settlement_grace_s: _Seconds = 900
    shutdown_grace_s: _Seconds = 30
    queue_total: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Requests that wait for a free worker, in one process."""
    queue_per_account: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    queue_wait_s: _Seconds = 30
    max_links: Annotated[int, Field(ge=1, le=100_000)] = 4096
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may call this gateway; `*` is all of them, none is `[]`."""
    metrics: bool = True
