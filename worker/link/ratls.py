"""Links to gateways that prove themselves in the TLS handshake (SPEC 17.11).

With a policy of their own, workers connect to nobody else: the list of processes, collateral and
links all go over verified connections. A worker proves itself in the link's hello, so its own side
of TLS needs no certificate.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path

import aiohttp

from bombyx.attestation.policy import Policy, parse_policy
from bombyx.client.ratls.connector_aiohttp import AttestedConnector
from bombyx.client.ratls.context import refusal_of, verified_of
from bombyx.errors import LinkError, PolicyError

_WORDS = (
    (aiohttp.ClientConnectorDNSError, "its name leads nowhere"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not accepted"),
    (aiohttp.ClientConnectorSSLError, "it does not speak TLS as it should"),
    (aiohttp.ClientConnectorError, "nobody answers there"),
    (aiohttp.ServerDisconnectedError, "it hung up"),
    (TimeoutError, "it does not answer in time"),
)
"""The narrower kind of an error first."""
OpenConnector = Callable[[], aiohttp.TCPConnector]


def plain_connector() -> aiohttp.TCPConnector:
    """Connections as they are by default: names and authorities count."""
    return aiohttp.TCPConnector(limit=0)


def connectors(policy: Path | None, *, clock: Callable[[], int]) -> OpenConnector:
    """What makes connectors to gateways: attested where a policy is given.

    `clock` gives unix seconds. Raises `PolicyError` for a policy that no gateway can meet.
    """
    if policy is None:
        return plain_connector
    accepted = _read(policy)
    if accepted.gateway is None:
        raise PolicyError(f"the policy {policy} has no table [gateway], so no gateway would pass")
    return lambda: AttestedConnector(accepted, clock=clock)


def check_gateway(socket: aiohttp.ClientWebSocketResponse, gateway: str) -> None:
    """Who signed the hello is who was verified; raises `LinkError`. Plain links show nothing."""
    verified = verified_of(socket.get_extra_info("ssl_object"))
    if verified is not None and verified.gateway != gateway:
        raise LinkError("the link's gateway is another one than its evidence names")


def reason_of(error: Exception) -> str:
    """Why a gateway could not be reached, in words for its log and for the owner."""
    refusal = refusal_of(error)
    if refusal is not None:
        return f"the gateway's evidence is refused: {refusal.message}"
    if isinstance(error, LinkError):
        return error.message
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"a link is answered with {error.status}, perhaps by a proxy on the way"
    named = (words for kind, words in _WORDS if isinstance(error, kind))
    return next(named, type(error).__name__)


def _read(path: Path) -> Policy:
    try:
        return parse_policy(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} is not TOML: {error}") from None
