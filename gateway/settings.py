"""Settings of the gateway: `[gateway]` of bombyx.toml, `BOMBYX_GATEWAY_*`, flags."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bombyx.settings import HOLDS_PASSWORD, RoleSettings
from bombyx.units import MAX_NANO

LINK_PREFIX = "/v1/workers/link/"
"""Workers dial this path with the slot of a process behind it."""
_Seconds = Annotated[int, Field(ge=1, le=86_400)]
_Url = Annotated[str, Field(max_length=512, pattern=r"^(https?://[^/?#\s@]+(/[^?#\s]*)?)?$")]
_Megabytes = Annotated[int, Field(ge=1, le=65_536)]


class GatewaySettings(RoleSettings):
    """Every setting of `bombyx gateway`; sizes and times say their unit in the name."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    processes: Annotated[int, Field(ge=1, le=256)] = 1
    """How many share the port; several need PostgreSQL."""
    slot: Annotated[int, Field(ge=0, le=4095)] = 0
    """The process's number among all of one database; of several, the first one's."""
    link_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Of several processes: the first one's port for links, the others' follow; 0: any free."""
    link_url: str = ""
    """Public URL at which workers dial this process; made of host, port and slot when empty.

    `{slot}` in it stands for the slot, which several processes need."""
    database_url: Annotated[str, HOLDS_PASSWORD] = ""
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
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 16_384
    """HTTP connections at once, within what the system lets a process open; links count apart."""
    keep_alive_s: _Seconds = 75
    """How long a connection may wait for its next request: longer than proxies in front do."""
    request_head_s: _Seconds = 10
    """How long a request's head may take, and a new connection be silent."""
    stalled_client_s: _Seconds = 60
    """How long a client may take no byte of what waits for it before its connection is cut."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may call this gateway; `*` is all of them, none is `[]`."""
    metrics: bool = True
    chain: Literal["auto", "ton", "none"] = "auto"
    """Take payment channels and deposits by `[ton]`; `auto` does where its `providers` are set."""
    chain_every_s: Annotated[int, Field(ge=1, le=600)] = 5
    """How often channels and the wallet are looked at; a close must be seen within its period."""
    max_payout_deposit_nano: Annotated[int, Field(ge=500_000_000, le=MAX_NANO)] = 20_000_000_000
    """What may lie in payout channels to one owner, not claimed yet: several claims' worth."""
    ra_tls: bool = False
    """Serve TLS with a certificate that carries this machine's evidence (ra-tls.md)."""
    ra_tls_life_s: Annotated[int, Field(ge=60, le=86_000)] = 43_200
    """How long such a certificate lives; another takes its place half-way."""
    intel_pcs_url: _Url = "https://api.trustedservices.intel.com"
    """Intel's provisioning certification service, or a PCCS; of all vendors: empty asks nobody."""
    intel_root_crl_url: _Url = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
    """The revocation list of Intel's root; empty takes it from the PCCS."""
    amd_kds_url: _Url = "https://kdsintf.amd.com"
    nvidia_rim_url: _Url = "https://rim.attestation.nvidia.com"
    nvidia_ocsp_url: _Url = "https://ocsp.ndis.nvidia.com"
    collateral_fetch_s: Annotated[int, Field(ge=1, le=120)] = 20
    """How long a vendor's service may take for one answer."""
