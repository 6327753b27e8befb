"""Settings of the client and the sidecar: the section [client]."""

from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr

from bombyx.envelope.response import Padding
from bombyx.settings import RoleSettings


class ClientSettings(RoleSettings):
    """What a sealed client trusts, where it sends, and what it may spend."""

    policy: Path | None = None
    """The policy file: which workers may be sealed to."""
    gateway: AnyHttpUrl | None = None
    """The sidecar's gateway, with or without /v1."""
    api_key: SecretStr | None = None
    """The gateway's API key that the sidecar uses for holders of its own token."""
    gateway_evidence: bool = False
    """Talk only to a gateway that proves itself in the TLS handshake, by `[gateway]` of the policy:
    see ra-tls.md."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8787
    """The sidecar's port on 127.0.0.1 and ::1; the next free one if it is busy, any for 0."""
    token_file: Path | None = None
    """The sidecar's own token; by default in the state directory."""
    max_request_nano: Annotated[int, Field(ge=1)] | None = None
    """The most that one request may cost; more is refused before it is sent."""
    padding: Padding = Padding.BUCKET
    """`exact` saves bytes and shows the network the length of every token: see traffic-shape.md."""
    cache_affinity: bool = True
    """Tell the gateway which of 16 shards a request belongs to, so that conversations stay with the
    workers that have their beginning cached."""
    pay: bool = False
    """Open channels and top them up without being asked, within the limits below, out of the wallet
    of `mnemonic_file`: see payments.md."""
    mnemonic_file: Path | None = None
    """The wallet's 24 words, for `pay` and `bombyx channel`."""
    max_inflight_nano: Annotated[int, Field(ge=0)] = 50_000_000
    """What a gateway that lies can take at most, per channel."""
    max_daily_nano: Annotated[int, Field(ge=0)] = 1_000_000_000
    """What a channel may spend in a day."""
    max_deposit_nano: Annotated[int, Field(ge=0)] = 2_000_000_000
    """What may be locked in channels to one gateway."""
    top_up_nano: Annotated[int, Field(ge=10_000_000)] = 200_000_000
    """What a channel is opened with, and topped up by."""
    save_transcripts: Path | None = None
    """A folder that gets questions and answers in clear, with their receipts, for `bombyx receipt
    audit`. Nothing is kept without it."""
