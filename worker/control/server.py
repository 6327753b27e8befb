"""The worker's end of the control socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from bombyx.control.wire import MAX_LINE_BYTES, SOCKET, Order, Reply, address, decode_order
from bombyx.errors import BombyxError

MAX_VISITORS = 8
"""At once: a page, a command line, and a few more."""
READ_SECONDS = 10.0
_OWNER_ONLY = 0o600

Obey = Callable[[Order], Awaitable[dict[str, Any]]]
"""Does what an order says; raises `BombyxError`."""

_log = structlog.get_logger("worker.control")


@contextlib.asynccontextmanager
async def control_socket(folder: Path, obey: Obey) -> AsyncIterator[None]:
    """Take orders within the block; a machine without unix sockets has none, and is told so."""
    path = folder / SOCKET
    visitors: set[asyncio.Task[Any]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(visitors) >= MAX_VISITORS:
            writer.close()
            return
        visitors.add(task)
        try:
            await _answer(reader, writer, obey)
        except (OSError, ValueError, TimeoutError):
            pass  # a visitor that went, or talks nonsense
        finally:
            visitors.discard(task)
            writer.close()

    path.unlink(missing_ok=True)  # of a process that was killed: the journal's lock keeps out two
    try:
        with address(folder) as where:
            server = await asyncio.start_unix_server(visit, where, limit=MAX_LINE_BYTES)
        path.chmod(_OWNER_ONLY)
    except OSError as error:
        _log.warning("no_control", reason=error.strerror or type(error).__name__)
        yield
        return
    try:
        yield
    finally:
        server.close()
        for task in list(visitors):
            task.cancel()
        if visitors:
            await asyncio.wait(visitors)
        path.unlink(missing_ok=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, obey: Obey) -> None:
    async with asyncio.timeout(READ_SECONDS):
        line = await reader.readline()
    try:
        order = decode_order(line)
        reply = Reply(told=await obey(order))
        if order.do != "status":
            _log.info("obeyed", order=order.do, model=order.model or None)
    except BombyxError as error:
        reply = Reply(error=error.message)
    writer.write(msgspec.json.encode(reply) + b"\n")
    await writer.drain()
