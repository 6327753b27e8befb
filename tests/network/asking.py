"""Sealed requests that run while a test plays their worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec

from bombyx import canonical
from bombyx.attestation.directory import Directory
from bombyx.attestation.keyset import keyset_digest
from bombyx.envelope.documents import RelayNote
from bombyx.envelope.frames import FrameSplitter, FrameType
from bombyx.envelope.request import SealedRequest
from gateway.metering.rows import StoredClaim, StoredReceipt
from tests.network.harness import Network
from tests.network.liar import Job, Liar
from tests.network.requests import CHAT, SEALED, bearer, body, directory, http, seal


@dataclass
class Asked:
    """A request on its way; `answer` is set once it is whole."""

    sealed: SealedRequest
    task: "asyncio.Task[httpx2.Response]"
    before: int

    @property
    def c(self) -> bytes:
        return self.sealed.c


async def listing(net: Network, *workers: Liar) -> Directory:
    """The directory, cut down to these workers."""
    listed = await directory(net)
    wanted = {one.worker for one in workers}
    found = [one for one in listed.workers if keyset_digest(one.keyset) in wanted]
    return msgspec.structs.replace(listed, workers=found)


@contextlib.asynccontextmanager
async def asking(net: Network, *workers: Liar, **fields: Any) -> AsyncIterator[Asked]:
    listed = await listing(net, *workers)
    before = await net.balance()
    sealed = seal(net, listed.workers, body("hi", **fields))

    async def post() -> httpx2.Response:
        async with http() as client:
            headers = {"content-type": SEALED, **bearer(net.api_key)}
            return await client.post(net.url + CHAT, content=sealed.encode(), headers=headers)

    task = asyncio.create_task(post())
    try:
        yield Asked(sealed, task, before)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def judged(net: Network, c: bytes, count: int = 1) -> list[StoredReceipt]:
    async with asyncio.timeout(5):
        while len(found := await net.context.store.receipts_of(c)) < count:
            await asyncio.sleep(0.01)
    return found


async def claim_of(net: Network, c: bytes) -> StoredClaim:
    return (await net.context.store.find_claims([c]))[c]


async def settled(net: Network, asked: Asked) -> StoredClaim:
    """The claim, once it is closed; other tests may have left theirs open."""
    async with asyncio.timeout(5):
        while not (claim := await claim_of(net, asked.c)).settled:
            await asyncio.sleep(0.01)
    return claim


async def first_of(*liars: Liar) -> tuple[Liar, Job]:
    """Who was asked, and what."""
    tasks = {asyncio.create_task(one.job()): one for one in liars}
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    (task,) = done
    return tasks[task], task.result()


def note_of(answer: httpx2.Response) -> RelayNote:
    frames = FrameSplitter().feed(answer.content[32:])
    assert frames[-1].type == FrameType.RELAY_NOTE
    return canonical.decode(frames[-1].body, RelayNote)


async def ended_open(net: Network, asked: Asked) -> None:
    """The claim waits for the worker's word; nothing was taken."""
    assert not (await claim_of(net, asked.c)).settled
    assert await net.balance() == asked.before
