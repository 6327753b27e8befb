"""All links of a worker: one fleet per gateway and keyset (SPEC 10, 4)."""

import asyncio
from collections.abc import Sequence

import aiohttp

from bombyx.link.frames import LinkType
from worker.identity import Generation
from worker.link.connection import Connection
from worker.link.fleet import Fleet
from worker.link.ratls import OpenConnector, plain_connector
from worker.link.tether import Office, Tether

_LINKED_POLL_SECONDS = 0.02


class Dialer:
    """Starts fleets, tells all of their links things, closes them."""

    def __init__(
        self,
        gateways: Sequence[str],
        office: Office,
        *,
        grace_seconds: float,
        open_connector: OpenConnector = plain_connector,
    ) -> None:
        self._gateways = list(dict.fromkeys(gateways))
        self._office = office
        self._grace_seconds = grace_seconds
        self._open_connector = open_connector
        self._session: aiohttp.ClientSession | None = None
        self._fleets: dict[Fleet, asyncio.Task[None]] = {}

    def start(self, generation: Generation) -> None:
        """Dial every gateway with this keyset."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=self._open_connector())
        for gateway in self._gateways:
            fleet = Fleet(gateway, generation, self._office, grace_seconds=self._grace_seconds)
            self._fleets[fleet] = asyncio.create_task(fleet.run(self._session))

    async def retire(self, generation: Generation, grace_seconds: float) -> None:
        """Close the links of one keyset."""
        await self._close(
            [one for one in self._fleets if one.generation is generation], grace_seconds
        )

    async def hang_up(self, grace_seconds: float) -> None:
        """Close every link; `start` dials again."""
        await self._close(list(self._fleets), grace_seconds)

    async def close(self, grace_seconds: float) -> None:
        """Close every link and the session under them."""
        await self._close(list(self._fleets), grace_seconds)
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def linked(self, generation: Generation, seconds: float) -> bool:
        """Whether a gateway lists this keyset, within so many seconds."""
        ends = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends:
            mine = [one for one in self._fleets if one.generation is generation]
            if any(tether.connection is not None for one in mine for tether in one.tethers):
                return True
            if all(self._fleets[one].done() for one in mine):
                return False  # sent away for good
            await asyncio.sleep(_LINKED_POLL_SECONDS)
        return False

    async def given_up(self) -> None:
        """Return when nobody is left that dials: every gateway has sent this worker away."""
        while self._fleets:
            running = [task for task in self._fleets.values() if not task.done()]
            if not running:
                return
            await asyncio.wait(running, return_when=asyncio.ALL_COMPLETED)

    def troubles(self, generation: Generation) -> list[str]:
        """Why links of this keyset do not stand, a sentence each."""
        mine = (one for one in self.tethers if one.generation is generation)
        return list(dict.fromkeys(one.trouble for one in mine if one.trouble))

    @property
    def tethers(self) -> list[Tether]:
        """Every link that is kept up, whether or not it stands."""
        return [tether for fleet in self._fleets for tether in fleet.tethers]

    @property
    def connections(self) -> list[Connection]:
        """The live links."""
        return [one.connection for one in self.tethers if one.connection is not None]

    @property
    def live_urls(self) -> list[str]:
        """Where the live links lead, each once."""
        return sorted({one.url for one in self.tethers if one.connection is not None})

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

    async def _close(self, fleets: Sequence[Fleet], grace_seconds: float) -> None:
        await asyncio.gather(*(fleet.close(grace_seconds) for fleet in fleets))
        # A keyset may retire while the worker stops: whoever comes second finds nothing left.
        found = [self._fleets.pop(fleet, None) for fleet in fleets]
        tasks = [task for task in found if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
