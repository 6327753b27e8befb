"""Keeps the gateway's certificate fresh while it serves (SPEC 17.11).

Half-way through its life, and within the life of what it rests on, another one takes its place in
new handshakes. A machine that gives no quote for a while costs nothing until the certificate ends;
from then on clients refuse it, which is right.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import structlog

from bombyx.errors import BombyxError, SetupError
from gateway.context import Context
from gateway.ratls.certificate import load_into, make_certificate, server_context
from gateway.ratls.quoter import Quoter, find_quoter
from gateway.settings import GatewaySettings

RETRY_SECONDS: Final = 60
"""After a quote that failed."""
LEAST_SECONDS: Final = 1
"""Between two certificates, however soon their collateral ends."""

_log = structlog.get_logger(__name__)


class CertificateKeeper:
    """One process's certificate; `clock` gives unix seconds."""

    def __init__(
        self, quoter: Quoter, gateway: str, *, clock: Callable[[], int], life_seconds: int
    ) -> None:
        self.context: Final = server_context()
        self._quoter = quoter
        self._gateway = gateway
        self._clock = clock
        self._life_seconds = life_seconds
        self.renew_at = 0

    async def renew(self) -> None:
        """Make another certificate, and use it from now on; raises `AttestationError`."""
        now = self._clock()
        issued = await make_certificate(
            self._quoter, self._gateway, now=now, life_seconds=self._life_seconds
        )
        load_into(self.context, issued)
        self.renew_at = now + (issued.expires_at - now) // 2
        _log.info("ra_tls_certificate", expires_at=issued.expires_at, renew_at=self.renew_at)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await asyncio.sleep(max(self.renew_at - self._clock(), LEAST_SECONDS))
            try:
                await self.renew()
            except BombyxError as error:
                _log.error("ra_tls_not_renewed", reason=error.message)
                self.renew_at = self._clock() + RETRY_SECONDS
            except Exception:  # noqa: BLE001 - a boundary: a keeper that died is missed too late
                _log.exception("ra_tls_failed")
                self.renew_at = self._clock() + RETRY_SECONDS


@contextlib.asynccontextmanager
async def attested_tls(
    settings: GatewaySettings, context: Context, *, state: Path, clock: Callable[[], int]
) -> AsyncIterator[ssl.SSLContext | None]:
    """What the gateway serves with: its own evidence, or None where the settings ask for none.

    Raises `SetupError` or `AttestationError`: who shall prove itself serves in no other way.
    """
    if not settings.ra_tls:
        yield None
        return
    if settings.processes > 1:
        raise SetupError("ra_tls needs processes = 1: neighbours cannot ask each other over it yet")
    quoter = find_quoter(state / "gateway", clock=clock, service=context.collateral)
    keeper = CertificateKeeper(
        quoter, context.gateway, clock=clock, life_seconds=settings.ra_tls_life_s
    )
    await keeper.renew()
    renewing = asyncio.create_task(keeper.run())
    try:
        yield keeper.context
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})
