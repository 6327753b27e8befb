"""A whole network in one process: real gateway, real workers, real WebSockets on loopback.

Only the hardware is simulated and the engine scripted. Used by stories that need all of it.
"""

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2
import openai
import uvicorn

import bombyx
from bombyx.attestation.policy import ModelRules, Policy, SimulatedRules
from bombyx.attestation.simulated import image_measurement
from gateway.accounts.repository import Accounts
from gateway.app import Front, open_context
from gateway.channels.port import ChainSide
from gateway.context import Context
from gateway.database import upgrade
from gateway.serve import bind, link_url_of, uvicorn_config
from gateway.settings import GatewaySettings
from worker.app import Parts, Worker
from worker.attest.simulated import SimulatedQuoter
from worker.attest.simulated_root import SimulatedRoot, root_sha256
from worker.clock import now_ms
from worker.engine.port import Engine
from worker.engine.scripted import Scripted, ScriptedEngine
from worker.ledger.journal import Journal
from worker.settings import WorkerSettings

CREDIT = 10**12
MODEL = "scripted"


def _now() -> int:
    return now_ms() // 1000


@dataclass(slots=True)
class RunningWorker:
    """A worker and what stops it."""

    worker: Worker
    journal: Journal
    engine: Engine

    async def cut_link(self) -> None:
        """As a network fault would: the sockets close, nobody says why."""
        for connection in self.worker._dialer.connections:
            await connection._socket.close()

    async def stop(self) -> None:
        await self.worker.close()
        await self.engine.close()
        await self.journal.close()


@dataclass(slots=True)
class Network:
    """What a story may touch."""

    folder: Path
    root: SimulatedRoot
    policy: Policy
    context: Context
    url: str
    api_key: str
    account: str
    admin_key: str
    workers: list[RunningWorker] = field(default_factory=list)
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def sealed(self, **options: Any) -> openai.AsyncOpenAI:
        """The stock SDK with the sealing transport."""
        http = bombyx.async_http_client(policy=self.policy, **options)
        self.stack.push_async_callback(http.aclose)
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=self.api_key, http_client=http, max_retries=0
        )

    def bare(self) -> openai.AsyncOpenAI:
        """The stock SDK and nothing else."""
        http = httpx2.AsyncClient(trust_env=False)
        self.stack.push_async_callback(http.aclose)
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=self.api_key, http_client=http, max_retries=0
        )

    async def balance(self) -> int:
        return await Accounts(self.context.engine).balance(self.account)

    async def settled(self) -> None:
        """Wait until nothing is pending."""
        async with asyncio.timeout(10):
            while (
                self.context.runs.open_runs()
                or self.context.desk.waiting
                or await self.context.store.open_claims(0, self.context.meter.epoch)
            ):
                await asyncio.sleep(0.02)

    async def add_worker(self, engine: Engine | None = None, **settings: Any) -> RunningWorker:
        number = len(self.workers)
        engine = engine or ScriptedEngine(Scripted(slots=32))
        await engine.start()
        image = image_measurement(version("bombyx"))
        quoter = SimulatedQuoter(self.root, image=image, clock=_now)
        journal = await Journal.open(self.folder / f"worker-{number}.db")
        parts = Parts(engine, engine.models(), quoter, journal, now_ms, settings.pop("state", None))
        given = {"gateway": (self.url,), "wallet": f"wallet{number}", "grace_seconds": 1}
        worker = await Worker.create(WorkerSettings(**{**given, **settings}), parts)
        worker.start()
        running = RunningWorker(worker, journal, engine)
        self.workers.append(running)
        async with asyncio.timeout(10):
            await worker.linked.wait()
        return running


@contextlib.asynccontextmanager
async def serving(context: Context, sock: socket.socket) -> AsyncIterator[str]:
    """The gateway's HTTP server in this loop."""
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = uvicorn.Server(uvicorn_config(Front(context), grace_seconds=1))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    try:
        yield url
    finally:
        server.should_exit = True
        await task
        sock.close()


@contextlib.asynccontextmanager
async def network(
    folder: Path, *, workers: int = 2, engine: Engine | None = None, **settings: Any
) -> AsyncIterator[Network]:
    """A network with a funded account."""
    root = SimulatedRoot.create(now=int(time.time()))  # noqa: TID251 - a shell of its own
    described = (engine or ScriptedEngine(Scripted())).models()
    policy = Policy(
        version=1,
        network="local",
        platforms=("simulated",),
        simulated=SimulatedRules(
            roots=(root_sha256(root),),
            mr_td=(image_measurement(version("bombyx")).hex(),),
            accepted_tcb=("UpToDate",),
        ),
        models=tuple(
            ModelRules(name=model.id, weights=(model.weights,), engines=(model.engine,))
            for model in described
        ),
    )
    database = settings.pop("database_url", f"sqlite:///{folder / 'gateway.db'}")
    chain: ChainSide | None = settings.pop("chain", None)
    await upgrade(database)
    chosen = GatewaySettings(database_url=database, shutdown_grace_s=1, **settings)
    async with contextlib.AsyncExitStack() as stack:
        sock = bind("127.0.0.1", 0)
        link_url = link_url_of(chosen, sock)
        context = await stack.enter_async_context(
            open_context(chosen, state=folder, policy=policy, link_url=link_url, chain=chain)
        )
        url = await stack.enter_async_context(serving(context, sock))
        accounts = Accounts(context.engine)
        account = await accounts.create("tests")
        await accounts.credit(account.id, CREDIT, txn="seed")
        _, key = await accounts.create_key(account.id, name="tests")
        _, admin = await accounts.create_key(account.id, name="admin", scope="admin")
        net = Network(
            folder, root, policy, context, url, key.secret, account.id, admin.secret, stack=stack
        )
        stack.push_async_callback(_stop_workers, net)
        for _ in range(workers):
            await net.add_worker(engine)
        yield net


async def _stop_workers(net: Network) -> None:
    for running in net.workers:
        await running.stop()


def with_policy(net: Network, **changes: Any) -> Policy:
    """The network's policy with other rules."""
    return dataclasses.replace(net.policy, **changes)
