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
    writer.write(await _reply(line, obey) + b"\n")
    await writer.drain()


async def _reply(line: bytes, obey: Obey) -> bytes:
    """Whatever happens, there is an answer."""
    try:
        order = decode_order(line)
        reply = msgspec.json.encode(Reply(told=await obey(order)))
    except BombyxError as error:
        return msgspec.json.encode(Reply(error=error.message))
    except Exception as error:  # noqa: BLE001 - a boundary: a bug is answered, its words may be content
        kind = type(error).__name__
        _log.error("order_failed", kind=kind)
        return msgspec.json.encode(Reply(error=f"the worker failed at this order ({kind})"))
    if order.do != "status":
        _log.info("obeyed", order=order.do, model=order.model or None)
    return reply
