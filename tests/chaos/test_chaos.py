"""Whatever is killed, the books come out even (SPEC 6.9); `make chaos` is the long version."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from sqlalchemy import text

import bombyx
from gateway.database import create_engine
from tests.chaos.audit import Books, journalled, open_claims, read_books
from tests.chaos.site import SCRIPTED, Site, build_site
from tests.chaos.storm import Plan, complaints, deadlines, storm
from worker.clock import now_ms

SEED = 1


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMBYX_STATE", str(tmp_path / "client"))


@pytest.mark.spec("6.9-a")
async def test_kills_at_random_leave_even_books(tmp_path: Path) -> None:
    plan = Plan(SEED, kills=3, requests=25, engines=(SCRIPTED, SCRIPTED), duration=4, grace=3)
    report = await storm(tmp_path / "site", plan)
    assert complaints(report, plan) == [], json.dumps(report.document(), indent=1)
    assert sum(report.kills.values()) == plan.kills
    assert sum(report.between.values()) > 0
    assert report.tally.complete > 0


@pytest.fixture(params=[(60, 60)], ids=["patient"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    duration, grace = request.param
    built = await build_site(
        tmp_path / "site", engines=(SCRIPTED,), settings=deadlines(duration, grace)
    )
    try:
        await built.gateway.start()
        await built.workers[0].start()
        yield built
    finally:
        built.destroy()


async def _settled(site: Site) -> Books:
    """The books, once all is quiet and has stopped."""
    engine = create_engine(site.database_url)
    worker = site.workers[0]
    try:
        async with asyncio.timeout(40):
            while await open_claims(engine) or journalled(
                site.journal(worker), site.folder / "copies"
            ):
                await asyncio.sleep(0.2)
        for process in (worker, site.gateway):
            assert await process.stop() == 0
        books = await read_books(site.database_url, engine)
    finally:
        await engine.dispose()
    assert (books.ledger_sum, books.billing_gap, books.unposted) == (0, 0, [])
    assert (books.billed_twice, books.charged_twice, books.unpaid_bills) == (0, 0, 0)
    assert (books.overcommitted, books.claims["open"]) == ([], 0)
    return books


class Bodies(httpx2.AsyncHTTPTransport):
    """The network, noting what goes to the completion route."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        self.sent: list[bytes] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/chat/completions":
            self.sent.append(await request.aread())
        return await super().handle_async_request(request)


async def test_a_retry_after_the_gateway_was_killed_is_the_same_claim_and_billed_once(
    site: Site,
) -> None:
    bodies = Bodies()
    receipts: list[bombyx.VerifiedAnswer] = []
    async with bombyx.async_http_client(
        policy=site.policy, transport=bodies, on_receipt=receipts.append
    ) as http:
        sdk = openai.AsyncOpenAI(
            base_url=f"{site.url}/v1", api_key=site.api_key, http_client=http, max_retries=8
        )
        asking = asyncio.create_task(sdk.chat.completions.create(**_slow(seconds=1.2)))
        await _claimed(site)
        site.gateway.kill()
        await site.gateway.start()
        with pytest.raises(openai.APIStatusError) as caught:
            await asking
    assert caught.value.status_code == 409
    assert caught.value.code in {"in_progress", "outcome"}
    assert len(bodies.sent) > 1
    assert set(bodies.sent) == {bodies.sent[0]}
    books = await _settled(site)
    assert books.claims == {"settled": 1}
    assert books.charges <= 1


async def _break_off(site: Site) -> None:
    """A stream whose gateway is killed under it; the worker signs what it did."""
    async with bombyx.async_http_client(policy=site.policy) as http:
        sdk = openai.AsyncOpenAI(
            base_url=f"{site.url}/v1", api_key=site.api_key, http_client=http, max_retries=0
        )
        stream = await sdk.chat.completions.create(**_slow(seconds=1.2), stream=True)
        await anext(aiter(stream))
        site.gateway.kill()
        with pytest.raises(openai.APIError) as caught:
            async for _ in stream:
                pass
    assert caught.value.code == "truncated"


async def test_a_statement_signed_while_no_gateway_ran_is_billed_by_the_next(site: Site) -> None:
    await _break_off(site)
    await site.gateway.start()
    books = await _settled(site)
    assert books.dispositions == {"billed aborted": 1}
    assert (books.charges, books.claims) == (1, {"settled": 1})


async def test_a_claim_that_the_database_lost_is_rebuilt_from_its_ticket(site: Site) -> None:
    await _break_off(site)
    await _lose_claim(site)
    await site.gateway.start()
    async with asyncio.timeout(20):
        while not await _claims(site):
            await asyncio.sleep(0.1)
    books = await _settled(site)
    assert books.dispositions == {"billed aborted": 1}
    assert books.charges == 1


@pytest.mark.parametrize("site", [(2, 1)], ids=["impatient"], indirect=True)
async def test_a_statement_of_a_lost_claim_past_its_deadline_expires_and_leaves_the_journal(
    site: Site,
) -> None:
    await _break_off(site)
    deadline = await _lose_claim(site)
    while now_ms() < deadline + 100:
        await asyncio.sleep(0.1)
    await site.gateway.start()
    books = await _settled(site)
    assert books.dispositions == {"expired aborted": 1}
    assert (books.charges, books.claims) == (0, {})


async def _claims(site: Site) -> list[Any]:
    engine = create_engine(site.database_url)
    try:
        async with engine.connect() as connection:
            return list((await connection.execute(text("SELECT deadline FROM claim"))).scalars())
    finally:
        await engine.dispose()


async def _lose_claim(site: Site) -> int:
    """What a loss of power may do to the last writes of a database; the claim's deadline."""
    (deadline,) = await _claims(site)
    engine = create_engine(site.database_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM claim"))
    finally:
        await engine.dispose()
    return int(deadline)


def _slow(*, seconds: float) -> dict[str, Any]:
    content = f"pace: 50\ncount: {int(seconds / 0.05)}"
    return {"model": SCRIPTED, "messages": [{"role": "user", "content": content}]}


async def _claimed(site: Site) -> None:
    engine = create_engine(site.database_url)
    try:
        async with asyncio.timeout(20):
            while not await open_claims(engine):
                await asyncio.sleep(0.02)
    finally:
        await engine.dispose()
