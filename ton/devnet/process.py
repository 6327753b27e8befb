"""A devnet as a process: opens its folder, listens, says so, runs until it is told to stop."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from bombyx.errors import SetupError
from ton.devnet.chain import Devnet
from ton.devnet.clock import Clock
from ton.devnet.log import Log
from ton.devnet.server import application
from ton.tvm.machine import Tvm

FILE = "devnet.db"
STOP_SECONDS = 2.0
"""For answers that are under way when the process is told to stop."""
BACKLOG = 256


@dataclass(frozen=True, slots=True)
class Running:
    """A devnet that listens; `url` is its origin."""

    devnet: Devnet
    url: str

    def document(self) -> dict[str, object]:
        """The ready line."""
        return {
            "url": self.url,
            "api_v2": f"{self.url}/api/v2",
            "api_v3": f"{self.url}/api/v3",
            "faucet": f"{self.url}/devnet/faucet",
            "network": self.devnet.network,
            "seqno": self.devnet.log.head().seqno,
        }


@contextlib.contextmanager
def opened(tvm: Tvm, folder: Path | None, *, wall: Callable[[], float]) -> Iterator[Devnet]:
    """The devnet of a folder, or one in memory for None; raises `SetupError`."""
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = Log(folder / FILE if folder is not None else None)
    try:
        offset = int(log.meta("clock_offset") or 0)
        clock = Clock(wall, offset=offset, floor=log.head().utime)
        yield Devnet(tvm, log, clock)
    finally:
        log.close()


@contextlib.asynccontextmanager
async def listening(devnet: Devnet, *, host: str, port: int) -> AsyncIterator[Running]:
    """Serve until the block ends; raises `SetupError` where the port is taken."""
    runner = web.AppRunner(application(devnet), access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        sock = _bound(host, port)
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        name = f"[{host}]" if ":" in host else host
        yield Running(devnet, f"http://{name}:{sock.getsockname()[1]}")
    finally:
        await runner.cleanup()


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise SetupError(
            f"the devnet cannot listen on {host} port {port}: {error.strerror}"
        ) from None


async def until_told() -> None:
    """Wait for SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, told.set)
    await told.wait()
