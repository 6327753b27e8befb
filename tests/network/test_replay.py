"""The same bytes after a restart, on a network of processes: nothing runs or is charged twice.

Whoever keeps the bytes of a request may send them to a restarted worker by way of a gateway that
remembers it, and one that was restarted too (SPEC 4, 5.2, 14.2).
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import openai
import pytest

import bombyx
from gateway.database import create_engine
from tests.chaos.audit import journalled, open_claims, read_books
from tests.chaos.site import SCRIPTED, Site, build_site

SEALED = "application/vnd.bombyx.sealed"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    built = await build_site(tmp_path / "site", engines=(SCRIPTED,))
    try:
        await built.gateway.start()
        await built.workers[0].start()
        yield built
    finally:
        built.destroy()


class Wiretap(httpx2.AsyncHTTPTransport):
    """The network, keeping the bytes of every sealed request and of its answer."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        self.sent: list[bytes] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.headers.get("content-type") == SEALED:
            self.sent.append(await request.aread())
        return await super().handle_async_request(request)


async def ask(site: Site, tap: Wiretap) -> None:
    async with bombyx.async_http_client(policy=site.policy, transport=tap) as http:
        sdk = openai.AsyncOpenAI(
            base_url=f"{site.url}/v1", api_key=site.api_key, http_client=http, max_retries=0
        )
        message = {"role": "user", "content": "say: once"}
        answer = await sdk.chat.completions.create(model=SCRIPTED, messages=[message])  # type: ignore[list-item]
    assert answer.choices[0].message.content == "once"


async def send(site: Site, content: bytes) -> httpx2.Response:
    headers = {"content-type": SEALED, "authorization": f"Bearer {site.api_key}"}
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
        return await client.post(
            f"{site.url}/v1/chat/completions", content=content, headers=headers
        )


async def quiet(site: Site) -> None:
    """Every claim is settled and every journal empty."""
    engine = create_engine(site.database_url)
    try:
        async with asyncio.timeout(30):
            while await open_claims(engine) or journalled(
                site.journal(site.workers[0]), site.folder / "copies"
            ):
                await asyncio.sleep(0.1)
    finally:
        await engine.dispose()


def code_of(answer: httpx2.Response) -> str:
    return str(json.loads(answer.content)["error"]["code"])


@pytest.mark.spec("4-g", "5.2-b", "14.2-a")
async def test_captured_bytes_run_once_whatever_is_restarted(site: Site) -> None:
    tap = Wiretap()
    await ask(site, tap)
    (captured,) = tap.sent
    await quiet(site)
    (worker,) = site.workers
    first = await send(site, captured)
    assert first.status_code == 200  # the kept answer, which only its client can open

    worker.kill()
    await worker.start()
    after_worker = await send(site, captured)
    assert after_worker.status_code == 200
    assert after_worker.content == first.content

    site.gateway.kill()
    await site.gateway.start()
    worker.kill()
    await worker.start()
    for _ in range(3):
        answer = await send(site, captured)
        assert (answer.status_code, code_of(answer)) == (409, "outcome")
        assert answer.headers["x-should-retry"] == "false"
        assert answer.json()["receipt"]["statement"]["status"] == "final"

    await quiet(site)
    for process in (worker, site.gateway):
        assert await process.stop() == 0
    engine = create_engine(site.database_url)
    try:
        books = await read_books(site.database_url, engine)
    finally:
        await engine.dispose()
    assert (books.charges, books.billed_twice, books.charged_twice) == (1, 0, 0)
    assert books.claims == {"settled": 1}
    assert dict(books.dispositions) == {"billed final": 1}
    assert (books.ledger_sum, books.billing_gap) == (0, 0)
