"""`bombyx.http_client` and its kin: what an application hands to the OpenAI SDK.

    client = OpenAI(base_url=…, api_key=…, http_client=bombyx.http_client(policy="policy.toml"))

Each SDK insists on clients of the library that it runs on: httpx2 from openai 3 on, httpx before.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx2

from bombyx.client import transport_httpx2
from bombyx.client.channel.setting import ChannelSource
from bombyx.client.opening import PolicySource, open_session
from bombyx.client.ratls.clients import wished_transport
from bombyx.client.ratls.transport_httpx2 import AsyncAttestedTransport, AttestedTransport
from bombyx.client.receipts import VerifiedAnswer
from bombyx.client.shells import nothing
from bombyx.errors import SetupError

if TYPE_CHECKING:
    import httpx

OnReceipt = Callable[[VerifiedAnswer], None] | None
Padding = Literal["bucket", "exact"]


def http_client(
    *,
    policy: PolicySource = None,
    timeout: httpx2.Timeout = transport_httpx2.DEFAULT_TIMEOUT,
    on_receipt: OnReceipt = None,
    cache_secret: bytes | None = None,
    padding: Padding | None = None,
    save_transcripts: Path | str | None = None,
    channel: ChannelSource = None,
    transport: httpx2.BaseTransport | None = None,
) -> httpx2.Client:
    """A sealed client for `OpenAI(http_client=…)`, openai 3 and later.

    `policy` is a `Policy` or its file; `on_receipt` hears of each verified answer; `cache_secret`
    (32 bytes) shares a prefix cache within a team; `transport` stands in for the network.
    `padding="exact"` shows token lengths to the network, and `save_transcripts` is a folder that
    gets content in clear: both are warned of. `channel=True` pays from the user's payment channels,
    a path from the channels in that folder; one process at a time may.
    Raises `PolicyError` without a policy, `SetupError` when the user's key files are unsafe.
    """
    session = open_session(
        policy,
        on_receipt=on_receipt,
        cache_secret=cache_secret,
        padding=padding,
        save_transcripts=save_transcripts,
        channel=channel,
    )
    transport = transport or wished_transport(
        policy, AttestedTransport, limits=transport_httpx2.DEFAULT_LIMITS
    )
    return transport_httpx2.sealed_client(
        session,
        timeout=timeout,
        transport=transport,
        on_close=session.close if channel else nothing,
    )


def async_http_client(
    *,
    policy: PolicySource = None,
    timeout: httpx2.Timeout = transport_httpx2.DEFAULT_TIMEOUT,
    on_receipt: OnReceipt = None,
    cache_secret: bytes | None = None,
    padding: Padding | None = None,
    save_transcripts: Path | str | None = None,
    channel: ChannelSource = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """The twin of `http_client` for `AsyncOpenAI`."""
    session = open_session(
        policy,
        on_receipt=on_receipt,
        cache_secret=cache_secret,
        padding=padding,
        save_transcripts=save_transcripts,
        channel=channel,
    )
    transport = transport or wished_transport(
        policy, AsyncAttestedTransport, limits=transport_httpx2.DEFAULT_LIMITS
    )
    return transport_httpx2.sealed_async_client(
        session,
        timeout=timeout,
        transport=transport,
        on_close=session.close if channel else nothing,
    )


def httpx_client(
    *,
    policy: PolicySource = None,
    timeout: "httpx.Timeout | None" = None,
    on_receipt: OnReceipt = None,
    cache_secret: bytes | None = None,
    padding: Padding | None = None,
    save_transcripts: Path | str | None = None,
    channel: ChannelSource = None,
    transport: "httpx.BaseTransport | None" = None,
) -> "httpx.Client":
    """`http_client` for openai 1 and 2, which run on httpx."""
    library, attested = _transport_httpx()
    session = open_session(
        policy,
        on_receipt=on_receipt,
        cache_secret=cache_secret,
        padding=padding,
        save_transcripts=save_transcripts,
        channel=channel,
    )
    timeout = timeout or library.DEFAULT_TIMEOUT
    limits = library.DEFAULT_LIMITS
    transport = transport or wished_transport(policy, attested.AttestedTransport, limits=limits)
    client: httpx.Client = library.sealed_client(
        session,
        timeout=timeout,
        transport=transport,
        on_close=session.close if channel else nothing,
    )
    return client


def async_httpx_client(
    *,
    policy: PolicySource = None,
    timeout: "httpx.Timeout | None" = None,
    on_receipt: OnReceipt = None,
    cache_secret: bytes | None = None,
    padding: Padding | None = None,
    save_transcripts: Path | str | None = None,
    channel: ChannelSource = None,
    transport: "httpx.AsyncBaseTransport | None" = None,
) -> "httpx.AsyncClient":
    """The twin of `httpx_client` for `AsyncOpenAI`."""
    library, attested = _transport_httpx()
    session = open_session(
        policy,
        on_receipt=on_receipt,
        cache_secret=cache_secret,
        padding=padding,
        save_transcripts=save_transcripts,
        channel=channel,
    )
    timeout = timeout or library.DEFAULT_TIMEOUT
    limits = library.DEFAULT_LIMITS
    kind = attested.AsyncAttestedTransport
    transport = transport or wished_transport(policy, kind, limits=limits)
    client: httpx.AsyncClient = library.sealed_async_client(
        session,
        timeout=timeout,
        transport=transport,
        on_close=session.close if channel else nothing,
    )
    return client


def _transport_httpx() -> tuple[Any, Any]:
    try:
        from bombyx.client import transport_httpx  # noqa: PLC0415  (httpx is an extra)
        from bombyx.client.ratls import transport_httpx as attested  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SetupError("openai 1 and 2 run on httpx: install 'bombyx[httpx]'") from None
    return transport_httpx, attested
