"""A simulated gateway's certificate, honest but for what a test changes."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from bombyx.attestation.policy import Policy, parse_policy
from bombyx.attestation.ratls.certificate import issue_certificate, public_key_der
from bombyx.attestation.ratls.claims import GatewayClaims, Subject, ratls_report_data
from bombyx.attestation.ratls.steps import GatewayStep
from bombyx.attestation.ratls.verify import GatewayExamination, Presented, examine_gateway
from bombyx.attestation.simulated import image_measurement
from bombyx.attestation.steps import Result
from tests.bombyx.attestation import world
from worker.attest.simulated_collateral import HONEST_VIEW, VendorView, mint_collateral
from worker.attest.simulated_platform import Body, SimulatedPlatform

NOW = world.NOW
GATEWAY = "a7" * 32
IMAGE = image_measurement("gateway 0.1.0")
KEY = ec.generate_private_key(ec.SECP256R1())
TLS = "TLSv1.3"


def gateway_table(**changes: Any) -> dict[str, Any]:
    """`[gateway]` for the simulated world."""
    return {
        "platforms": ["simulated"],
        "simulated": world.simulated_rules(mr_td=[IMAGE.hex()]),
        **changes,
    }


def policy(gateway: dict[str, Any] | None = None, **changes: Any) -> Policy:
    """The world's policy with a `[gateway]`."""
    return parse_policy(world.policy_table(gateway=gateway or gateway_table(), **changes))


POLICY = policy()


@dataclass(frozen=True)
class Recipe:
    """What goes into a certificate; tests replace one thing."""

    key: ec.EllipticCurvePrivateKey = KEY
    now: int = NOW
    life: int = 3600
    minted: int = 0
    gateway: str = GATEWAY
    platform: SimulatedPlatform = world.PLATFORM
    view: VendorView = HONEST_VIEW
    image: bytes = IMAGE
    body: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        """What the certificate says."""
        public = public_key_der(self.key.public_key())
        return Subject(self.gateway, public, self.now - 300, self.now + self.life)

    def made(self) -> GatewayClaims:
        """What it carries; `bound` makes the quote bind something else."""
        collateral = mint_collateral(self.platform, now=self.minted or self.now, view=self.view)
        said = ratls_report_data(replace(self.subject, **self.bound))
        quote = self.platform.quote(replace(Body(image=self.image, report_data=said), **self.body))
        claims = GatewayClaims(
            v="bombyx/1",
            role="gateway",
            gateway=self.gateway,
            evidence=world.evidence_of(quote, collateral),
            collateral=collateral,
        )
        return msgspec.structs.replace(claims, **self.claims)

    def certificate(self) -> bytes:
        """The certificate in DER."""
        return issue_certificate(self.key, self.made(), self.subject, serial=7)


HONEST = Recipe()


def examine(
    certificate: bytes, *, policy: Policy = POLICY, now: int = NOW, **channel: Any
) -> GatewayExamination:
    shown = {"tls_version": TLS, "is_resumed": False, **channel}
    return examine_gateway(Presented(certificate, **shown), policy=policy, now=now)


def failed(examination: GatewayExamination) -> list[tuple[GatewayStep, str]]:
    return [(one.name, one.code) for one in examination.findings if one.result is Result.FAIL]
