"""`bombyx verify URL --gateway`: each step of the gateway's own evidence (SPEC 17.11).

Shakes hands and hangs up: nothing is asked of the gateway, so no key is needed.
"""

import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bombyx.attestation.policy import Policy
from bombyx.attestation.ratls.steps import GATEWAY_STEPS
from bombyx.attestation.ratls.verify import GatewayExamination, Presented, examine_gateway
from bombyx.cli.output import Output
from bombyx.cli.steps import step_line
from bombyx.client.opening import unix_seconds
from bombyx.client.ratls.context import EvidenceError, gateway_context
from bombyx.errors import GatewayRefused, GatewayUnreachable, SetupError

TIMEOUT_SECONDS = 30.0
_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class GatewayCheck:
    """What a gateway's handshake came to."""

    origin: str
    found: GatewayExamination

    @property
    def refusal(self) -> str:
        """Why it is refused, in one sentence; empty where it is not."""
        refusal = self.found.refusal
        return "" if refusal is None else f"{refusal.name}: {refusal.detail}"

    def document(self) -> dict[str, Any]:
        """For programs."""
        proof = self.found.proof
        return {
            "url": self.origin,
            "gateway": self.found.gateway,
            "platform": self.found.platform,
            "verified": not self.refusal,
            "expires_at": 0 if proof is None else proof.expires_at,
            "steps": [
                {
                    "name": str(one.name),
                    "result": str(one.result),
                    "detail": one.detail,
                    **({"code": one.code} if one.code else {}),
                }
                for one in self.found.findings
            ],
        }

    def table(self) -> str:
        """For people."""
        verdict = "REFUSED" if self.refusal else "may be told requests"
        name = self.found.gateway or self.origin
        lines = [f"gateway {name} ({self.found.platform or 'no evidence'}): {verdict}"]
        for one in self.found.findings:
            lines += [step_line(one), f"       {GATEWAY_STEPS[one.name]}"]
        return "\n".join(lines)


def show_gateway(origin: str, policy: Policy, output: Output) -> None:
    """Print what the handshake came to; raises `GatewayRefused` where it is refused."""
    check = check_gateway(origin, policy)
    output.answer(check.document(), check.table())
    if check.refusal:
        raise GatewayRefused(check.refusal, steps=check.found.findings)


def check_gateway(origin: str, policy: Policy) -> GatewayCheck:
    """Connect and examine; raises `GatewayUnreachable`, or `SetupError` for a URL without TLS."""
    parts = urlsplit(origin)
    if parts.scheme != "https" or not parts.hostname:
        raise SetupError("a gateway proves itself over TLS only: give a URL that begins with https")
    shown: list[Presented] = []
    context = gateway_context(policy, clock=unix_seconds, on_judged=shown.append)
    address = (parts.hostname, parts.port or _HTTPS_PORT)
    try:
        with (
            socket.create_connection(address, timeout=TIMEOUT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=parts.hostname),
        ):
            pass
    except EvidenceError:
        pass  # judged below, with all steps
    except (OSError, ssl.SSLError) as error:
        kind = type(error).__name__
        raise GatewayUnreachable(f"{origin} cannot be reached over TLS ({kind})") from None
    found = examine_gateway(shown[0], policy=policy, now=unix_seconds())
    return GatewayCheck(origin, found)
