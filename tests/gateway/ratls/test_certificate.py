"""Making the gateway's certificate (SPEC 17.11): what clients verify, and nothing on a disk."""

import asyncio
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from bombyx.attestation.ratls.certificate import read_certificate
from bombyx.attestation.ratls.verify import Presented, verify_gateway
from gateway.ratls.certificate import load_into, make_certificate, server_context
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import GATEWAY, IMAGE, NOW, POLICY
from worker.attest.port import Quote
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_collateral import DAY_SECONDS, LIFE_SECONDS, mint_collateral
from worker.attest.simulated_platform import Body


def quoter(now: int = NOW) -> SimulatedQuoter:
    return SimulatedQuoter(world.ROOT, image=IMAGE, clock=lambda: now)


@dataclass
class OldWords:
    """A machine whose vendor's word ends in ten minutes, or cannot be read."""

    platform: str = "simulated"
    torn: bool = False

    async def quote(self, report_data: bytes) -> Quote:
        said = mint_collateral(world.PLATFORM, now=NOW + 600 - LIFE_SECONDS)
        if self.torn:
            said = type(said)(**{**_fields(said), "tcb_info": "{}"})
        return Quote(world.PLATFORM.quote(Body(image=IMAGE, report_data=report_data)), said)


def _fields(document: object) -> dict[str, str]:
    return {name: getattr(document, name) for name in document.__struct_fields__}  # type: ignore[attr-defined]


class WithoutCollateral(OldWords):
    """As on SEV-SNP, whose evidence stands alone."""

    async def quote(self, report_data: bytes) -> Quote:
        return Quote((await super().quote(report_data)).raw, None)


async def test_a_client_verifies_what_is_made() -> None:
    issued = await make_certificate(quoter(), GATEWAY, now=NOW, life_seconds=3600)
    shown = Presented(issued.certificate, "TLSv1.3", is_resumed=False)
    verified = verify_gateway(shown, policy=POLICY, now=NOW)
    assert (verified.gateway, verified.expires_at) == (GATEWAY, NOW + 3600)
    assert issued.expires_at == NOW + 3600
    assert "key" not in repr(issued).lower().replace("issued", "")


@pytest.mark.spec("17.11-d")
async def test_each_certificate_has_a_key_of_its_own_and_lives_a_day_at_most() -> None:
    made = [
        read_certificate(
            (await make_certificate(quoter(), GATEWAY, now=NOW, life_seconds=86_000)).certificate
        )
        for _ in range(2)
    ]
    assert made[0].public_key != made[1].public_key
    assert all(one.not_after - one.not_before <= DAY_SECONDS for one in made)


@pytest.mark.spec("17.11-i")
@pytest.mark.parametrize(
    ("machine", "ends"),
    [
        (OldWords(), NOW + 600),
        (OldWords(torn=True), NOW + 3600),
        (WithoutCollateral(), NOW + 3600),
    ],
)
async def test_it_ends_no_later_than_what_it_rests_on(machine: OldWords, ends: int) -> None:
    issued = await make_certificate(machine, GATEWAY, now=NOW, life_seconds=3600)
    assert issued.expires_at == ends


@pytest.mark.spec("17.11-b")
def test_the_server_speaks_tls_1_3_and_gives_no_tickets() -> None:
    context = server_context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0


def test_a_key_is_never_in_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    issued = asyncio.run(make_certificate(quoter(), GATEWAY, now=NOW, life_seconds=3600))
    seen: list[str] = []

    class Watched:
        def load_cert_chain(self, path: str) -> None:
            seen.append(str(Path(path).readlink()) if path.startswith("/proc") else path)
            assert b"PRIVATE KEY" in Path(path).read_bytes()

    load_into(Watched(), issued)  # type: ignore[arg-type]
    assert "memfd" in seen[0]
    monkeypatch.delattr(os, "memfd_create")
    load_into(Watched(), issued)  # type: ignore[arg-type]
    assert not Path(seen[1]).exists()
