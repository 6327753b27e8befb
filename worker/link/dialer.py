"""All links of a worker: one tether per gateway and keyset (SPEC 10, 4)."""

import asyncio
from collections.abc import Sequence

import aiohttp

from bombyx.link.frames import LinkType
from worker.identity import Generation
from worker.link.connection import Connection
from worker.link.tether import Office, Tether


class Dialer:
    """Starts tethers, tells all of them things, closes them."""

    def __init__(self, urls: Sequence[str], office: Office) -> None:
        self._urls = list(dict.fromkeys(urls))
        self._office = office
        self._session: aiohttp.ClientSession | None = None
        self._tethers: dict[Tether, asyncio.Task[None]] = {}

    def start(self, generation: Generation) -> None:
        """Dial every gateway with this keyset."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        for url in self._urls:
            tether = Tether(url, generation, self._office)
            self._tethers[tether] = asyncio.create_task(tether.run(self._session))

    async def retire(self, generation: Generation, grace_seconds: float) -> None:
        """Close the links of one keyset."""
        await self._close(
            [one for one in self._tethers if one.generation is generation], grace_seconds
        )

    async def close(self, grace_seconds: float) -> None:
        """Close every link and the session under them."""
        await self._close(list(self._tethers), grace_seconds)
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def given_up(self) -> None:
        """Return when no tether is left that dials: every gateway has sent this worker away."""
        while self._tethers:
            running = [task for task in self._tethers.values() if not task.done()]
            if not running:
                return
            await asyncio.wait(running, return_when=asyncio.ALL_COMPLETED)

    @property
    def connections(self) -> list[Connection]:
        """The live links."""
        return [one.connection for one in self._tethers if one.connection is not None]

    @property
    def live_urls(self) -> list[str]:
        """Where the live links lead, each once, in the order given."""
        live = {one.url for one in self._tethers if one.connection is not None}
        return [url for url in self._urls if url in live]

    def tell_all(self, frame_type: LinkType, payload: bytes) -> None:
        """A document for every gateway."""
        for connection in self.connections:
            connection.document(frame_type, payload)

    def tell(self, gateway: str, frame_type: LinkType, payload: bytes) -> None:
        """A document for all processes of one gateway."""
        for connection in self.connections:
            if connection.peer.gateway == gateway:
                connection.document(frame_type, payload)

    def tell_of(self, generation: Generation, frame_type: LinkType, payload: bytes) -> None:
        """A document on the links of one keyset."""
        for connection in self.connections:
            if connection.peer.worker == generation.worker:
                connection.document(frame_type, payload)

    async def _close(self, tethers: Sequence[Tether], grace_seconds: float) -> None:
        await asyncio.gather(*(tether.close(grace_seconds) for tether in tethers))
        # A keyset may retire while the worker stops: whoever comes second finds nothing left.
        found = [self._tethers.pop(tether, None) for tether in tethers]
        tasks = [task for task in found if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
