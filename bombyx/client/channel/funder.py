"""A funder for sessions: opens and tops up channels when a request needs it, within the caps.

Only where the owner said so (`[client] pay`). It works in a thread with an event loop of its own,
since the sessions of blocking SDKs have none.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2

from bombyx.client.channel import funding
from bombyx.client.channel.chain_port import ChainSide
from bombyx.client.channel.funding import Terms
from bombyx.client.channel.gateway import GatewayRoutes
from bombyx.client.channel.payer import Payer
from bombyx.client.channel.store import Pending, Saving
from bombyx.client.channel.wallet import Wallet, Wanted
from bombyx.client.transport_httpx2 import DIRECT
from bombyx.errors import BombyxError, SetupError

Work = Callable[[ChainSide], Coroutine[Any, Any, Any]]
OpenSide = Callable[[], AbstractAsyncContextManager[ChainSide]]
OpenClient = Callable[[], httpx2.AsyncClient]
RETRY_S = 30
"""After a failure nothing is tried anew for so long: requests hear why at once."""


def direct_client() -> httpx2.AsyncClient:
    """To a gateway, past the environment's proxies where it is on this machine."""
    return httpx2.AsyncClient(mounts=DIRECT, timeout=30.0)


class ThreadFunder:
    """One order at a time: what several requests need at once, the first of them brings."""

    def __init__(
        self,
        terms: Terms,
        open_side: OpenSide,
        *,
        say: funding.Say,
        open_client: OpenClient = direct_client,
    ) -> None:
        self._terms = terms
        self._open_side = open_side
        self._open_client = open_client
        self._say = say
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bombyx-funder")
        self._failed: dict[str, tuple[int, BombyxError]] = {}

    def open(self, wanted: Wanted, wallet: Wallet) -> Pending[None]:
        """Open a channel for these requests."""

        async def work(side: ChainSide) -> None:
            if wallet.find(wanted.identity, wanted.payer) is not None:
                return  # another request was first
            async with self._open_client() as client:
                routes = GatewayRoutes(
                    client, origin=wanted.origin, authorization=wanted.authorization
                )
                opened = await funding.open_channel(
                    routes,
                    side,
                    self._terms,
                    identity=wanted.identity,
                    payer=wanted.payer,
                    say=self._say,
                )
            wallet.keep(opened)

        opening: Pending[None] = Pending()
        self._start(opening, wanted.identity + wanted.payer, work)
        return opening

    def top_up(self, payer: Payer, cost: int) -> Saving:
        """Bring as much more into a channel as a request costs, or the usual amount."""

        async def work(side: ChainSide) -> Any:
            await funding.top_up(
                payer, side, self._terms, cost=cost, wanted=self._terms.amount, say=self._say
            )
            return payer.store.saved

        saving = Saving()
        self._start(saving, payer.name, work)
        return saving

    def close(self) -> None:
        """Let what runs come to its end; what only waits fails, and is asked for the next time."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _start(self, pending: Pending[Any], name: str, work: Work) -> None:
        try:
            running = self._thread.submit(self._run, pending, name, work)
        except RuntimeError:  # the executor's word for one that was shut down
            pending.fail(_given_up())
            return
        running.add_done_callback(lambda over: _never_ran(over, pending))

    def _run(self, pending: Pending[Any], name: str, work: Work) -> None:
        now = self._terms.clock()
        at, why = self._failed.get(name, (0, None))
        if why is not None and now < at + RETRY_S:
            pending.fail(why)
            return
        try:
            pending.finish(asyncio.run(self._on_side(work)))
        except BombyxError as error:
            self._failed[name] = (now, error)
            pending.fail(error)
        except Exception as error:  # noqa: BLE001  (whoever waits must hear of it)
            pending.fail(SetupError(f"paying failed ({type(error).__name__})"))

    async def _on_side(self, work: Work) -> Any:
        async with self._open_side() as side:
            return await work(side)


def _never_ran(over: Future[None], pending: Pending[Any]) -> None:
    """Whoever waits for what was dropped from the queue must hear of it, or waits for ever."""
    if over.cancelled():
        pending.fail(_given_up())


def _given_up() -> SetupError:
    return SetupError("the wallet was closed before it could pay: open the client anew")
