"""Sealed requests that run while a test plays their worker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec

from bombyx.attestation.directory import Directory
from bombyx.attestation.keyset import keyset_digest
from bombyx.envelope.request import SealedRequest
from gateway.metering.rows import StoredClaim, StoredReceipt
from tests.network.harness import Network
from tests.network.liar import Liar
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
