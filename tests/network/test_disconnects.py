"""Five hundred clients that vanish in the middle: the engine stops, and the bill is the signed one.

Sealed and bare, streamed and whole, by RST and by FIN, at moments that a seed chose (SPEC 6.5).
"""

import asyncio
import collections
import contextlib
import json
import random
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from bombyx import canonical
from bombyx.attestation.directory import Directory
from bombyx.money.cost import Rates, Tokens, price
from bombyx.money.receipt import Receipt
from bombyx.money.statement import Status, tokens_of
from gateway.admin.reading import ClaimRow, Reading
from gateway.connections import Door
from gateway.metering.rows import Disposition
from tests.network.harness import Network, network
from tests.network.raw import head, watch_doors
from tests.network.requests import SEALED, body, directory, seal
from worker.engine.port import EngineEvent, EngineRequest
from worker.engine.scripted import Scripted, ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 500
AT_ONCE = 25
SEED = 20_261_122
PROMPT = "pace: 25\ncount: 60"
LONGEST = 0.6
"""Seconds before a client leaves; an undisturbed answer takes one and a half."""
EARLY = 0.1
"""Of the streams that are left before their first byte."""
ENGINE_STOPS = 10.0
"""Seconds in which all engines have stopped, however busy this machine is: some milliseconds."""
DOORS: list[Door] = []
DESCRIPTORS = Path("/proc/self/fd")
KINDS = ("sealed stream", "sealed whole", "bare stream", "bare whole")


@dataclass
class Watched:
    """What the engine did for one request."""

    caller: str
    tokens: Tokens = field(default_factory=Tokens)
    whole: bool = False


class WatchedEngine(ScriptedEngine):
    """Notes whether each request's generator came to its end, and the last counts that it gave."""

    def __init__(self) -> None:
        super().__init__(Scripted(slots=AT_ONCE))
        self.runs: dict[str, Watched] = {}

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        caller = str(request.body["messages"][0]["content"])
        seen = self.runs[request.completion_id.removeprefix("chatcmpl-")] = Watched(caller)
        async with aclosing(super().run(request)) as events:
            async for event in events:
                seen.tokens = event.tokens
                yield event
        seen.whole = True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Network, WatchedEngine]]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("watched")
        patch.setenv("BOMBYX_STATE", str(folder / "client"))
        engine = WatchedEngine()
        doors = watch_doors(patch)
        async with network(folder, workers=0) as net:
            DOORS[:] = doors
            await net.add_worker(engine, slots=AT_ONCE)
            yield net, engine


@dataclass(frozen=True)
class Caller:
    """A request that is ready to be sent, and when its client leaves."""

    name: str
    kind: str
    content: bytes
    pause: float
    early: bool
    with_reset: bool


def callers(net: Network, listed: Directory) -> list[Caller]:
    """Sealed beforehand: cryptography in this loop would hide what the gateway does."""
    made, chance = list[Caller](), random.Random(SEED)
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        tier, form = kind.split()
        name = f"caller-{number}"
        asked = body(PROMPT, max_tokens=200) | {"stream": form == "stream"}
        asked["messages"].insert(0, {"role": "system", "content": name})
        content, media = json.dumps(asked).encode(), b"application/json"
        if tier == "sealed":
            content, media = seal(net, listed.workers, asked).encode(), SEALED.encode()
        top = head(net, f"content-length: {len(content)}").replace(b"application/json", media)
        pause, early = chance.uniform(0, LONGEST), chance.random() < EARLY
        made.append(Caller(name, kind, top + content, pause, early, chance.random() < 0.5))
    return made


async def leave(url: httpx2.URL, caller: Caller) -> None:
    """Ask, read for a while, and vanish; most streams are left after their first byte."""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(caller.content)
    if "stream" in caller.kind and not caller.early:
        await reader.readuntil(b"\r\n\r\n")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(caller.pause):
            while await reader.read(2**16):
                pass
    if caller.with_reset:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def all_claims(net: Network) -> list[ClaimRow]:
    reading, before, found = Reading(net.context.engine), None, list[ClaimRow]()
    while True:
        page = await reading.claims(state=None, account=None, before=before, limit=200)
        if not page:
            return found
        found += page
        before = (page[-1].created_at, page[-1].c.hex())


def open_things(net: Network) -> dict[str, int]:
    """What a client that is gone could leave behind."""
    (link,) = (listed.link for listed in net.context.registry.all())
    (connection,) = net.workers[0].worker._dialer.connections
    return {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.is_dir() else 0,
        "connections": sum(len(one._inside) for one in DOORS),
        "streams": len(link._streams),
        "worker_streams": len(connection._streams),
        "busy": sum(link.running.values()),
        "memory": net.context.settings.buffered_requests_mb * 2**20 - net.context.budget._free,
    }


async def test_five_hundred_clients_leave_at_random_and_each_pays_what_its_worker_signed(
    watched: tuple[Network, WatchedEngine],
) -> None:
    net, engine = watched
    before, url = await net.balance(), httpx2.URL(net.url)
    ready = callers(net, await directory(net))
    await asyncio.sleep(0.1)
    things = open_things(net)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(caller: Caller) -> None:
        async with room:
            await leave(url, caller)

    await asyncio.gather(*map(one, ready))
    async with asyncio.timeout(ENGINE_STOPS):
        while engine._running:
            await asyncio.sleep(0.005)
    await net.settled()
    claims = await all_claims(net)
    cut = collections.Counter[str]()
    for claim in claims:
        run = engine.runs.get(claim.id)
        if run is not None and not run.whole:
            # It did not write to the end: it was told.
            cut[claim.tier] += 1
        await _check_bill(net, claim, run)
    # The rest left before any worker was asked.
    assert min(cut["sealed"], cut["bare"]) > COUNT * 0.4
    assert before - await net.balance() == sum(claim.charge or 0 for claim in claims)
    assert await net.context.store.billing_gap() == 0
    assert await net.context.store.ledger_sum() == 0
    assert await net.context.store.open_claims(0, net.context.meter.epoch) == []
    async with asyncio.timeout(5):
        while open_things(net) != things:
            await asyncio.sleep(0.05)


async def _check_bill(net: Network, claim: ClaimRow, run: Watched | None) -> None:
    """Charge, receipt, signed counts and the engine's own are one."""
    assert claim.state == "settled"
    receipts = await net.context.store.receipts_of(claim.c)
    if run is None:
        # It left before any engine heard of it.
        assert all(one.charge == 0 for one in receipts)
        assert claim.charge == 0
        return
    (stored,) = receipts
    assert stored.disposition is Disposition.BILLED
    statement = canonical.decode(stored.document, Receipt).statement
    assert statement.status is (Status.FINAL if run.whole else Status.ABORTED)
    assert tokens_of(statement) == run.tokens
    cost = price(run.tokens, Rates.of(statement.prices), fee_bps=statement.fee_bps)
    assert claim.charge == stored.charge == int(statement.charge_nano) == cost.charge


async def test_the_gateway_is_none_the_worse(watched: tuple[Network, WatchedEngine]) -> None:
    net, _ = watched
    for client in (net.sealed(), net.bare()):
        answer = await client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "say: fine"}]
        )
        assert answer.choices[0].message.content == "fine"
