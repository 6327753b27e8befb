"""A wire between worker and gateway that somebody cuts: TCP, relayed until all of it is reset."""

import asyncio
import contextlib
import socket
import struct

_PIECE = 64 * 1024
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Wire:
    """Listens on loopback; `cut` resets every connection in the middle of whatever it carries."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.listens_at = 0
        self.cuts = 0
        self.connections = 0

    async def start(self, listens_at: int) -> None:
        """Relay to the port given, from now on."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", listens_at)
        self.listens_at = listens_at

    def cut(self) -> None:
        """Reset all connections; new ones are carried as before."""
        self.cuts += 1
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                sock: socket.socket = end.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            end.transport.abort()

    async def stop(self) -> None:
        """Carry nothing any more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        self._ends |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(_PIECE):
                sink.write(piece)
                await sink.drain()
        except (OSError, RuntimeError):
            pass
        finally:
            self._ends.discard(sink)
            sink.close()
