"""Keeping the certificate fresh (SPEC 17.11): half-way, again after a failure, and not at all."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bombyx.attestation.policy import Policy
from bombyx.errors import AttestationError, NotFound, SetupError
from gateway.app import open_context
from gateway.database import upgrade
from gateway.ratls import keeper, quoter
from gateway.ratls.keeper import CertificateKeeper, attested_tls
from gateway.ratls.quoter import OwnCollateral, find_quoter
from gateway.settings import GatewaySettings
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import GATEWAY, IMAGE, NOW
from worker.attest.port import Quote
from worker.attest.simulated import SimulatedQuoter


@dataclass
class Moody:
    """A machine that may give no quote, or break."""

    moods: list[Exception | None]
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    platform: str = "simulated"

    async def quote(self, report_data: bytes) -> Quote:
        mood = self.moods.pop(0)
        if not self.moods:
            self.asked.set()
        if mood is not None:
            raise mood
        machine = SimulatedQuoter(world.ROOT, image=IMAGE, clock=lambda: NOW)
        return await machine.quote(report_data)


@pytest.mark.spec("17.11-i")
async def test_another_certificate_takes_over_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LEAST_SECONDS", 0.001)
    now = [NOW]
    machine = Moody([None, None])
    kept = CertificateKeeper(machine, GATEWAY, clock=lambda: now[0], life_seconds=3600)
    await kept.renew()
    assert kept.renew_at == NOW + 1800
    now[0] = NOW + 1800
    running = asyncio.create_task(kept.run())
    async with asyncio.timeout(5):
        await machine.asked.wait()
        while kept.renew_at != NOW + 3600:
            await asyncio.sleep(0.001)
    running.cancel()


async def test_a_machine_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LEAST_SECONDS", 0.001)
    monkeypatch.setattr(keeper, "RETRY_SECONDS", 0)
    machine = Moody([None, AttestationError("busy"), RuntimeError("a bug"), None])
    kept = CertificateKeeper(machine, GATEWAY, clock=lambda: NOW, life_seconds=1)
    await kept.renew()
    running = asyncio.create_task(kept.run())
    async with asyncio.timeout(5):
        await machine.asked.wait()
    running.cancel()


async def serving_with(folder: Path, **settings: Any) -> bool:
    url = f"sqlite:///{folder / 'gateway.db'}"
    await upgrade(url)
    chosen = GatewaySettings(database_url=url, **settings)
    async with (
        open_context(
            chosen, state=folder, policy=Policy(1, "local"), link_url="ws://127.0.0.1/"
        ) as context,
        attested_tls(chosen, context, state=folder, clock=lambda: NOW) as tls,
    ):
        return tls is not None


async def test_tls_is_served_where_the_settings_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMBYX_WORKER_PLATFORM", "simulated")
    assert not await serving_with(tmp_path)
    assert await serving_with(tmp_path, ra_tls=True)
    with pytest.raises(SetupError, match="processes"):
        await serving_with(tmp_path, ra_tls=True, processes=2)


def test_without_a_worker_installed_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoter, "GROUP", "bombyx.nothing")
    with pytest.raises(SetupError, match="bombyx-worker"):
        find_quoter(tmp_path, clock=lambda: NOW, service=None)  # type: ignore[arg-type]


async def test_a_document_that_nobody_has_is_an_attestation_error() -> None:
    class Empty:
        async def find(self, name: str) -> object:
            raise NotFound("no such platform")

    with pytest.raises(AttestationError, match="no such platform"):
        await OwnCollateral(Empty()).find("tdx/00906ed50000/platform")  # type: ignore[arg-type]
