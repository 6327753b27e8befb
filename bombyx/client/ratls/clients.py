"""Clients whose gateway proves itself in the TLS handshake (SPEC 17.11).

`bare_http_client` is for the bare tier: requests are not sealed, the gateway reads them, and so it
goes only to a gateway that the policy's `[gateway]` allows. Sealed clients ask for the same with
the setting `gateway_evidence`; to them it keeps who asks from whoever poses as the gateway.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import httpx2

from bombyx.client import transport_httpx2
from bombyx.client.opening import PolicySource, resolve_policy, unix_seconds
from bombyx.client.ratls.transport_httpx2 import AsyncAttestedTransport, AttestedTransport
from bombyx.client.settings import ClientSettings
from bombyx.settings import load_settings

Transport = TypeVar("Transport")


def bare_http_client(
    *,
    policy: PolicySource = None,
    timeout: httpx2.Timeout = transport_httpx2.DEFAULT_TIMEOUT,
) -> httpx2.Client:
    """A client for `OpenAI(http_client=…)` that seals nothing and trusts one kind of gateway.

    Each answer's `x-bombyx-gateway` names the gateway that was verified. A refused one is told
    nothing, and the SDK raises an error of status 502 with the code `gateway_refused`.
    Raises `PolicyError` without a policy.
    """
    accepted = resolve_policy(policy, load_settings(ClientSettings, "client")[0])
    limits = transport_httpx2.DEFAULT_LIMITS
    transport = AttestedTransport(accepted, clock=unix_seconds, limits=limits)
    return httpx2.Client(transport=transport, timeout=timeout)


def async_bare_http_client(
    *,
    policy: PolicySource = None,
    timeout: httpx2.Timeout = transport_httpx2.DEFAULT_TIMEOUT,
) -> httpx2.AsyncClient:
    """The twin of `bare_http_client` for `AsyncOpenAI`."""
    accepted = resolve_policy(policy, load_settings(ClientSettings, "client")[0])
    limits = transport_httpx2.DEFAULT_LIMITS
    transport = AsyncAttestedTransport(accepted, clock=unix_seconds, limits=limits)
    return httpx2.AsyncClient(transport=transport, timeout=timeout)


def wished_transport(
    policy: PolicySource, kind: Callable[..., Transport], *, limits: Any
) -> Transport | None:
    """What a sealed client connects through where `gateway_evidence` is set, else None."""
    settings = load_settings(ClientSettings, "client")[0]
    if not settings.gateway_evidence:
        return None
    return kind(resolve_policy(policy, settings), clock=unix_seconds, limits=limits)
