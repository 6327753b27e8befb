"""Asking a worker whole requests, and an engine that is watched."""

from collections.abc import AsyncGenerator
from typing import Any

from bombyx.chat.body import Body
from bombyx.money.receipt import Receipt, verify_receipt
from tests.worker.peer import PeerLink, PeerStream, unix
from tests.worker.sealing import (
    Opened,
    open_answer,
    seal,
)
from worker.engine.port import EngineEvent, EngineRequest
from worker.engine.scripted import Scripted, ScriptedEngine


class WatchedEngine(ScriptedEngine):
    """The scripted engine, telling what it was given and whether it still runs."""

    def __init__(self) -> None:
        super().__init__(Scripted())
        self.requests: list[EngineRequest] = []
        self.live = 0

    async def run(self, request: EngineRequest) -> AsyncGenerator[EngineEvent, None]:
        self.requests.append(request)
        self.live += 1
        try:
            async for event in super().run(request):
                yield event
        finally:
            self.live -= 1


async def ask(link: PeerLink, body: Body, **changes: Any) -> tuple[PeerStream, Opened]:
    """One request to its end, opened and checked."""
    sealed = seal(link.listing, body, now=unix(), **changes)
    stream = await (await link.ask(sealed)).over()
    assert stream.refusal is None
    return stream, open_answer(sealed, link.listing, bytes(stream.data))


def check_terminal(stream: PeerStream, receipt: Receipt, link: PeerLink) -> None:
    """An out-of-stream statement: signed, and about exactly the bytes that came."""
    verify_receipt(receipt, bytes.fromhex(link.listing.keyset.receipt_key))
    digest, length = stream.walker.position()
    assert receipt.statement.resp_ct_hash == digest.hex()
    assert receipt.statement.resp_ct_bytes == length
