"""A supervisor and its processes, as operating system processes on a real PostgreSQL."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import openai
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import bombyx
from bombyx.link.processes import LiveProcess, parse_processes
from gateway.database import create_engine
from tests.chaos.audit import open_claims, read_books
from tests.chaos.site import SCRIPTED, Site, build_site

pytestmark = pytest.mark.timeout(300)
PATIENCE_SECONDS = 120.0


@contextlib.asynccontextmanager
async def site_of(
    folder: Path, url: str, *, processes: int, workers: int = 2
) -> AsyncIterator[tuple[Site, AsyncEngine]]:
    site = await build_site(
        folder, database_url=url, processes=processes, engines=(SCRIPTED,) * workers
    )
    engine = create_engine(url)
    try:
        await site.gateway.start()
        for worker in site.workers:
            worker.launch()
        for worker in site.workers:
            await worker.await_ready()
        await linked(site, processes)
        yield site, engine
    finally:
        await engine.dispose()
        site.destroy()


async def live(site: Site) -> list[LiveProcess]:
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
        return parse_processes((await http.get(site.url + "/v1/gateways")).content).data


async def linked(site: Site, processes: int) -> None:
    """Wait until every worker is linked to every process, by what the processes log."""
    wanted = processes * len(site.workers)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while events(site).count("worker_linked") < wanted:
            await asyncio.sleep(0.1)


def events(site: Site) -> list[str]:
    lines = site.gateway.log.read_text(errors="replace").splitlines()
    return [json.loads(line).get("event", "") for line in lines if line.startswith("{")]


async def until_event(site: Site, event: str, *, count: int = 1) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while events(site).count(event) < count:
            site.gateway.check()
            await asyncio.sleep(0.1)


class Clients:
    """Streams without end, each checked to its last number; `broken` are those that were not."""

    def __init__(self, site: Site, count: int) -> None:
        self.whole = 0
        self.broken: list[str] = []
        self._http = bombyx.async_http_client(policy=site.policy)
        self._sdk = openai.AsyncOpenAI(
            base_url=f"{site.url}/v1",
            api_key=site.api_key,
            http_client=self._http,
        )  # asks again before an answer's first byte, as every app's does; never after it
        self._stopping = False
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(count)]

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    async def _ask(self, number: int) -> None:
        last = 30 + 3 * number
        content = f"pace: 15\ncount: {last}"
        while not self._stopping:
            try:
                said = ""
                stream = await self._sdk.chat.completions.create(
                    model=SCRIPTED, messages=[{"role": "user", "content": content}], stream=True
                )
                async for chunk in stream:
                    said += "".join(choice.delta.content or "" for choice in chunk.choices)
            except openai.OpenAIError as error:
                self.broken.append(repr(error))
                await asyncio.sleep(0.2)
                continue
            if said.split() == [str(one) for one in range(1, last + 1)]:
                self.whole += 1
            else:
                self.broken.append(said)


async def come_out_even(site: Site, engine: AsyncEngine) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await open_claims(engine):
            await asyncio.sleep(0.1)
    books = await read_books(site.database_url, engine)
    assert (books.ledger_sum, books.billing_gap, books.unposted) == (0, 0, [])
    assert books.overcommitted == []
    assert (books.billed_twice, books.charged_twice, books.unpaid_bills) == (0, 0, 0)


@pytest.fixture(autouse=True)
def own_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


async def test_a_rolling_restart_under_load_breaks_no_stream(
    tmp_path: Path, postgres_url: str
) -> None:
    async with site_of(tmp_path / "site", postgres_url, processes=3) as (site, engine):
        before = {one.slot: one for one in await live(site)}
        assert sorted(before) == [0, 1, 2]
        clients = Clients(site, 16)
        await asyncio.sleep(0.2)
        site.gateway.send(signal.SIGHUP)
        await until_event(site, "rolling_restart_done")
        await clients.stop()
        assert clients.broken == []
        assert clients.whole > 16
        after = {one.slot: one for one in await living(engine)}
        assert all(after[slot].epoch > before[slot].epoch for slot in before)
        assert {slot: one.link_url for slot, one in after.items()} == {
            slot: one.link_url for slot, one in before.items()
        }
        await come_out_even(site, engine)
        assert await site.gateway.stop() == 0


async def test_a_process_that_dies_comes_back_in_its_slot_and_others_answer_meanwhile(
    tmp_path: Path, postgres_url: str
) -> None:
    async with site_of(tmp_path / "site", postgres_url, processes=2, workers=1) as (site, engine):
        before = {one.slot: one for one in await live(site)}
        victim = next(one for one in site.gateway.ready["processes"] if one["slot"] == 1)
        os.kill(victim["pid"], signal.SIGKILL)
        await until_event(site, "process_ended")
        clients = Clients(site, 4)
        await until_event(site, "process_ready", count=3)
        await clients.stop()
        assert clients.broken == []
        after = {one.slot: one for one in await living(engine)}
        assert after[1].epoch == before[1].epoch + 1
        assert after[0] == before[0]
        assert after[1].link_url == before[1].link_url
        await come_out_even(site, engine)
        site.gateway.send(signal.SIGINT)
        assert await site.gateway.ended() == 0


async def test_a_process_that_was_stopped_for_long_goes_on_in_a_new_epoch(
    tmp_path: Path, postgres_url: str
) -> None:
    async with site_of(tmp_path / "site", postgres_url, processes=2, workers=1) as (site, engine):
        pid = next(one["pid"] for one in site.gateway.ready["processes"] if one["slot"] == 1)
        clients = Clients(site, 4)
        await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(one.slot == 1 for one in await living(engine)):
                await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(one.slot == 1 and one.epoch > 1 for one in await living(engine)):
                await asyncio.sleep(0.2)
        await clients.stop()
        assert clients.whole
        await come_out_even(site, engine)


async def living(engine: AsyncEngine) -> list[LiveProcess]:
    """Who lives by the database's clock: a stopped process answers nothing, the others late."""
    query = (
        "SELECT slot, epoch, link_url, draining FROM process WHERE expires_at > "
        "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    )
    async with engine.connect() as connection:
        return [LiveProcess(*row) for row in (await connection.execute(text(query))).all()]
