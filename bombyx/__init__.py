"""Confidential inference behind the OpenAI SDK.

    from openai import OpenAI
    import bombyx

    client = OpenAI(base_url=…, api_key=…, http_client=bombyx.http_client(policy="policy.toml"))

Names are imported when they are first used, so that the pure core can be had without the client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bombyx.attestation.policy import Policy, parse_policy
    from bombyx.client.clients import (
        async_http_client,
        async_httpx_client,
        http_client,
        httpx_client,
    )
    from bombyx.client.ratls.clients import async_bare_http_client, bare_http_client
    from bombyx.client.receipts import VerifiedAnswer
    from bombyx.errors import BombyxError

__all__ = [
    "BombyxError",
    "Policy",
    "VerifiedAnswer",
    "async_bare_http_client",
    "async_http_client",
    "async_httpx_client",
    "bare_http_client",
    "http_client",
    "httpx_client",
    "parse_policy",
]

_HOMES = {
    "BombyxError": "bombyx.errors",
    "Policy": "bombyx.attestation.policy",
    "VerifiedAnswer": "bombyx.client.receipts",
    "async_bare_http_client": "bombyx.client.ratls.clients",
    "async_http_client": "bombyx.client.clients",
    "async_httpx_client": "bombyx.client.clients",
    "bare_http_client": "bombyx.client.ratls.clients",
    "http_client": "bombyx.client.clients",
    "httpx_client": "bombyx.client.clients",
    "parse_policy": "bombyx.attestation.policy",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bombyx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
