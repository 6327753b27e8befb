"""aiohttp's connections to gateways that prove themselves: of the sidecar and of workers' links.

Verified in the handshake by the context. One that is kept alive is used again for minutes only, and
a URL without TLS is not connected to at all (SPEC 17.11).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp

from bombyx.attestation.policy import Policy
from bombyx.client.ratls.context import EvidenceError, gateway_context, judged_at, verified_of
from bombyx.client.ratls.generations import MARGIN_SECONDS, POOL_SECONDS
from bombyx.errors import GatewayRefused

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_NO_TLS = "a gateway proves itself over TLS only: its URL must begin with https or wss"
_AROUND = "the connection was made without the evidence of its peer"


class AttestedConnector(aiohttp.TCPConnector):
    """Connects to verified gateways alone; `clock` gives unix seconds."""

    def __init__(self, policy: Policy, *, clock: Callable[[], int], limit: int = 0) -> None:
        super().__init__(ssl=gateway_context(policy, clock=clock), limit=limit)
        self._unix = clock

    async def connect(
        self,
        req: "ClientRequest",
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature of what it overrides
    ) -> "Connection":
        """A connection that is verified and still fresh; raises what aiohttp does."""
        if not req.is_ssl():
            raise _refused(req, _NO_TLS)
        began = self._unix()
        while True:
            connection = await super().connect(req, traces, timeout)
            peer = _peer(connection)
            verified = verified_of(peer)
            if verified is None:  # somebody gave the request a context of its own
                connection.close()
                raise _refused(req, _AROUND)
            at, now = judged_at(peer), self._unix()
            is_young = now - at < POOL_SECONDS and verified.expires_at - now > MARGIN_SECONDS
            if at >= began or is_young:
                return connection
            connection.close()


def _peer(connection: "Connection") -> Any:
    transport = connection.transport
    return None if transport is None else transport.get_extra_info("ssl_object")


def _refused(req: "ClientRequest", why: str) -> aiohttp.ClientConnectorError:
    cause = EvidenceError(GatewayRefused(why))
    error = aiohttp.ClientConnectorSSLError(req.connection_key, cause)
    error.__cause__ = cause
    return error
